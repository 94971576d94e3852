"""What wrk 4.1.0 reports: recorded against a server that answers, one that has nothing, one that hangs up, and none."""

from __future__ import annotations

import pytest

from tests.bench.load import Pressed, parse_wrk

ANSWERED = """\
Running 2s test @ http://127.0.0.1:18999/read
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   735.00us    2.07ms  25.24ms   94.67%
    Req/Sec    14.72k     6.04k   24.76k    60.00%
  29223 requests in 2.00s, 1.11MB read
Requests/sec:  14582.79
Transfer/sec:    569.64KB
"""
MISSING = """\
Running 2s test @ http://127.0.0.1:18999/read
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.70ms    3.98ms  44.10ms   95.64%
    Req/Sec     5.15k     5.14k   17.34k    80.00%
  10280 requests in 2.02s, 471.84KB read
  Non-2xx or 3xx responses: 10280
Requests/sec:   5094.67
Transfer/sec:    233.84KB
"""
HUNG_UP = """\
Running 2s test @ http://127.0.0.1:18999/read
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.00us    0.00us   0.00us    -nan%
    Req/Sec     0.00      0.00     0.00      -nan%
  0 requests in 2.07s, 0.00B read
  Socket errors: connect 0, read 1759, write 0, timeout 0
Requests/sec:      0.00
Transfer/sec:       0.00B
"""
SOME_HUNG_UP = HUNG_UP.replace("  0 requests", "  7 requests")
REFUSED = "unable to connect to 127.0.0.1:18998 Connection refused\n"


def test_requests_and_seconds_are_read() -> None:
    assert parse_wrk(ANSWERED) == Pressed(requests=29223, seconds=2.0)
    assert parse_wrk(ANSWERED.replace("2.00s,", "1.50m,")) == Pressed(requests=29223, seconds=90.0)


@pytest.mark.parametrize("said", [MISSING, HUNG_UP, SOME_HUNG_UP, REFUSED, ANSWERED.replace("29223", "0")])
def test_a_load_that_was_refused_is_no_figure(said: str) -> None:
    with pytest.raises(RuntimeError, match="wrk could not load the server"):
        parse_wrk(said)
