"""Whether a worker can do its job now, and if not, why: for ``/readyz``.

The worker's own thread leaves notes (`began`, `turned`, `retried`), a probe's thread reads them; each note is one
assignment. Ready is a worker that reads the log and whose last turn is over or young; one that is far behind is ready
too, since nobody would catch up sooner without it: that is `projection_lag_seconds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SLOW_TURN_S: Final = 15.0  # a large batch takes seconds
RETRYING_S: Final = 2.0  # a store that is merely busy takes the batch within


class Readiness:
    """The notes of one worker. clock: monotonic seconds. log_answers: whether Kafka does, asked by the probe's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase = "starting"
        self._turned_at: float | None = None
        self._trouble = ""
        self.log_answers: Callable[[], bool] = lambda: True

    def began(self, phase: str) -> None:
        """The worker is about to do this, and reads nothing until it has."""
        self._phase, self._turned_at = phase, None

    def turned(self) -> None:
        """A turn of the worker's loop begins: all before it is done."""
        self._turned_at, self._trouble = self._clock(), ""

    def retried(self, why: str) -> None:
        """Cassandra did not take a batch."""
        self._trouble = why

    def reason(self) -> str:
        """Why the worker can't do its job; empty when it can."""
        turned_at, trouble = self._turned_at, self._trouble
        if turned_at is None:
            return f"{self._phase}; Cassandra: {trouble}" if trouble else self._phase
        lasts = self._clock() - turned_at
        if trouble and lasts > RETRYING_S:
            return f"Cassandra does not take what is written, for {lasts:.0f} s now: {trouble}"
        if lasts > SLOW_TURN_S:
            return f"a batch is in hand for {lasts:.0f} s"
        return "" if self.log_answers() else "Kafka does not answer, or has no such topic"
