"""What wrk 4.1 reports, recorded."""

from __future__ import annotations

import pytest

from tests.bench.load import Pressed, parse_wrk

REPORT = """\
Running 8s test @ http://127.0.0.1:8081/read/orders_by_user/00000000-0000-0000-0000-000000000001?limit=50
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    46.32ms   12.11ms 160.22ms   82.01%
    Req/Sec     1.08k   140.62     1.41k    70.00%
  8640 requests in 8.02s, 98.11MB read
Requests/sec:   1077.31
Transfer/sec:     12.23MB
"""


def test_requests_and_seconds_are_read() -> None:
    assert parse_wrk(REPORT) == Pressed(requests=8640, seconds=8.02)
    assert parse_wrk(REPORT.replace("8.02s", "1.50m")) == Pressed(requests=8640, seconds=90.0)


@pytest.mark.parametrize(
    "said",
    [
        REPORT.replace("Requests/sec", "  Non-2xx or 3xx responses: 3\nRequests/sec"),
        REPORT.replace("Requests/sec", "  Socket errors: connect 0, read 2, write 0, timeout 0\nRequests/sec"),
        REPORT.replace("8640 requests", "0 requests"),
        "unable to connect to 127.0.0.1:8081 Connection refused\n",
    ],
)
def test_a_load_that_was_refused_is_no_figure(said: str) -> None:
    with pytest.raises(RuntimeError, match="wrk could not load the server"):
        parse_wrk(said)
