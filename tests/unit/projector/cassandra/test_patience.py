"""A Cassandra that is away for a moment is asked again; a stop ends the wait; what is no absence is not repeated."""

from __future__ import annotations

import threading

import pytest

from projector.cassandra.errors import CassandraUnreachableError, MissingTableError, WriterStoppedError
from projector.cassandra.patience import patiently


def _away(times: int) -> tuple[list[int], object]:
    asked: list[int] = []

    def call() -> str:
        asked.append(1)
        if len(asked) <= times:
            raise CassandraUnreachableError("connection reset")
        return "prepared"

    return asked, call


def test_it_is_asked_until_it_answers() -> None:
    asked, call = _away(2)
    assert patiently(call, threading.Event()) == "prepared"  # type: ignore[arg-type]
    assert len(asked) == 3


def test_a_stop_ends_the_wait_and_names_the_cause() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    _, call = _away(1_000)
    with pytest.raises(WriterStoppedError, match="connection reset"):
        patiently(call, stop)  # type: ignore[arg-type]


def test_a_missing_table_is_said_at_once() -> None:
    asked = []

    def call() -> None:
        asked.append(1)
        raise MissingTableError("run `projector setup`")

    with pytest.raises(MissingTableError):
        patiently(call, threading.Event())
    assert len(asked) == 1
