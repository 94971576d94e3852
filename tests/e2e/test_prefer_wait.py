"""A command that is answered when its write can be read, and one whose bound comes first."""

from __future__ import annotations

import signal
import time

import httpx
import pytest

from tests.e2e.pipeline import Pipeline, listening, wait_for


@pytest.mark.timeout(120)
def test_a_command_is_answered_when_its_write_can_be_read(pipeline: Pipeline) -> None:
    pipeline.declare("tests.e2e.models:ORDERS")
    pipeline.set_up()
    with pipeline.running("relay", "projector", "read-api") as (_, projector, reader):
        reads = listening(reader)
        own = pipeline.with_settings(command_api={"read_api": reads})
        commander = pipeline.start("command-api", settings=own)
        with (
            httpx.Client(base_url=listening(commander), timeout=30, trust_env=False) as commands,
            httpx.Client(base_url=reads, timeout=30, trust_env=False) as client,
        ):
            wait_for("the projector works", lambda: _placed(commands, "5")["covered"], 30, projector.tail)
            for number in range(20):
                made = _placed(commands, "20", f"user {number}")
                assert made["covered"] is True, (made, projector.tail())
                # Without a token: what is readable now.
                shown = client.get(f"/read/user_profile/{made['user_id']}").json()["rows"]
                assert [row["name"] for row in shown] == [f"user {number}"], made
            projector.send(signal.SIGSTOP)
            try:
                began = time.monotonic()
                assert _placed(commands, "0.5")["covered"] is False
                assert 0.5 <= time.monotonic() - began < 5
            finally:
                projector.send(signal.SIGCONT)
            reader.send(signal.SIGSTOP)
            try:
                assert _placed(commands, "0.2")["covered"] is None
            finally:
                reader.send(signal.SIGCONT)
            assert "covered" not in _placed(commands, None)
        assert commander.stop() == 0, commander.tail()


def _placed(commands: httpx.Client, seconds: str | None, name: str = "Ada") -> dict[str, object]:
    headers = {} if seconds is None else {"Prefer": f"wait={seconds}"}
    reply = commands.post("/users", json={"name": name}, headers=headers)
    assert reply.status_code == 201, reply.text
    assert reply.headers.get("preference-applied") == (None if seconds is None else f"wait={min(float(seconds), 10):g}")
    found: dict[str, object] = reply.json()
    return found
