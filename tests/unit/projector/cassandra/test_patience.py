"""A Cassandra that is away for a moment is asked again; a stop ends the wait; what is no absence is not repeated."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from cassandra import InvalidRequest, OperationTimedOut, Unauthorized

from projector.cassandra.errors import (
    CassandraError,
    CassandraUnreachableError,
    MissingTableError,
    RefusedStatementError,
    WriterStoppedError,
)
from projector.cassandra.patience import patiently
from projector.cassandra.progress import read_positions


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


class Failing:
    """What a session answers with."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def execute(self, *_: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unauthorized("User worker has no SELECT permission"), RefusedStatementError),
        (InvalidRequest("unconfigured table"), MissingTableError),
        (OperationTimedOut(), CassandraUnreachableError),
    ],
)
def test_positions_that_no_patience_brings_are_no_absence(error: Exception, told: type[CassandraError]) -> None:
    session: Any = Failing(error)
    with pytest.raises(told):
        read_positions(session, "shop", "main", 0)
