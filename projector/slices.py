"""How changes that fan out share a worker's time with everything else."""

from __future__ import annotations

from dataclasses import dataclass

from projector.apply.step import MOST_KEYS

_MOST_SAVED_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Settings of a worker.

    above: more keys than this through one batch's parents are put aside. keys: so many are touched in a slice.
    share: of the worker's time, while other changes wait.
    """

    above: int = MOST_KEYS
    keys: int = 500
    share: float = 0.5


AS_USUAL = Slices()
"""The defaults."""


class Turn:
    """Whose turn it is: slices earn time while other changes are worked on, and spend it. Little is saved up."""

    def __init__(self, share: float) -> None:
        self._rate = share / (1 - share)
        self._seconds = 0.0

    @property
    def due(self) -> bool:
        """Whether slices have time left."""
        return self._seconds > 0

    def earn(self, seconds: float) -> None:
        """Other changes took this long."""
        self._seconds = min(self._seconds + seconds * self._rate, _MOST_SAVED_S)

    def spend(self, seconds: float) -> None:
        """A slice took this long."""
        self._seconds -= seconds
