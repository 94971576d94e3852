"""Logs are one JSON object a line off a terminal, and no secret passes through them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from command_api.process.logging import configure_logging, get_logger, mask_text


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_event_is_one_json_line_with_time_level_and_name(out: io.StringIO) -> None:
    get_logger("relay.loop").info("published", lsn="0/16", count=3)
    line = json.loads(out.getvalue())
    assert line["event"] == "published"
    assert (line["level"], line["logger"], line["count"]) == ("info", "relay.loop", 3)
    assert line["timestamp"].endswith("Z")


def test_a_clients_requests_are_announced_at_debug_level_alone(out: io.StringIO) -> None:
    client = logging.getLogger("httpx")
    client.info("HTTP Request: GET")
    assert out.getvalue() == ""
    client.warning("odd")
    configure_logging("debug", out)
    client.info("HTTP Request: GET")
    configure_logging(stream=out)
    client.info("HTTP Request: GET")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["odd", "HTTP Request: GET"]


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"client": {"sasl.password": "hunter2", "ssl.key.password": "hunter2"}},
        {"nested": [{"client_secret": "hunter2"}]},
        {"conninfo": "host=a user=b password=hunter2 dbname=c"},
        {"conninfo": "host=a password = 'hunter2 \\' hunter2' dbname=c"},
        {"url": "postgresql://app:hunter2@db:5432/app"},
        {"error": ValueError("could not use password=hunter2")},
        {"bearer": "hunter2"},
        {
            "error": ValueError(
                "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.aHVudGVyMg hunter".replace("aHVudGVyMg", "hunter2")
            )
        },
        {"jaas": 'PlainLoginModule required username="a" password="hunter2";'},
    ],
)
def test_secrets_are_masked_wherever_they_stand(out: io.StringIO, fields: dict[str, object]) -> None:
    get_logger("x").warning("connecting", **fields)
    assert "hunter2" not in out.getvalue()
    assert "***" in out.getvalue()


def test_secrets_in_a_traceback_and_of_other_libraries_are_masked(out: io.StringIO) -> None:
    try:
        raise RuntimeError("connect to postgresql://app:hunter2@db/app failed")
    except RuntimeError:
        get_logger("x").exception("failed")
    logging.getLogger("another.library").error("conninfo %s", "user=a password=hunter2")
    assert "hunter2" not in out.getvalue()
    assert len(out.getvalue().splitlines()) == 2


def test_text_without_secrets_is_left_alone() -> None:
    text = "host=127.0.0.1 port=5432 user=app: http://127.0.0.1:8080/users, 100 % done at 16/B374D848"
    assert mask_text(text) == text


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="loud"):
        configure_logging("loud")
