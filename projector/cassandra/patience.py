"""Asking a Cassandra that may be away: statements are prepared and positions read as patiently as rows are written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

from command_api.process.logging import get_logger
from projector.cassandra.errors import CassandraUnreachableError, WriterStoppedError

_log = get_logger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
T = TypeVar("T")


def patiently(call: Callable[[], T], stop: threading.Event) -> T:
    """What `call` gives, asked again for as long as no node answers; raises WriterStoppedError once `stop` is set."""
    tries = Retrying(
        retry=retry_if_exception_type(CassandraUnreachableError),
        wait=wait_exponential_jitter(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S, jitter=_FIRST_PAUSE_S),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=_say,
        reraise=True,
    )
    try:
        return tries(call)
    except CassandraUnreachableError as error:
        raise WriterStoppedError(f"stopped while Cassandra did not answer: {error}") from error


def _say(state: RetryCallState) -> None:
    assert state.outcome is not None
    _log.warning(
        "cassandra does not answer, asking again", tries=state.attempt_number, cause=str(state.outcome.exception())
    )
