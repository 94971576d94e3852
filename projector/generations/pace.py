"""How far a build is and how long it takes still: from what its worker's metrics say, sample by sample. Pure."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass

_WINDOW_S = 30.0


@dataclass(frozen=True, kw_only=True)
class _Sample:
    at: float
    changes: float
    left: float


class Pace:
    """changes: read so far. left: records of the log that are still to be read."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self.changes = 0.0
        self.left = 0.0

    def saw(self, at: float, *, changes: float, left: float) -> None:
        """A sample. at: monotonic seconds."""
        self.changes, self.left = changes, left
        self._samples.append(_Sample(at=at, changes=changes, left=left))
        while at - self._samples[0].at > _WINDOW_S:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Changes a second, of the last half minute."""
        first, last = self._samples[0], self._samples[-1]
        return (last.changes - first.changes) / (last.at - first.at) if last.at > first.at else 0.0

    @property
    def seconds_left(self) -> float:
        """Until the log's end, at the speed at which it comes nearer; nan while it does not."""
        if not self.left:
            return 0.0
        most = max(self._samples, key=lambda sample: sample.left)  # before the first read nothing is known to be left
        last = self._samples[-1]
        nearer = most.left - last.left
        return last.left * (last.at - most.at) / nearer if nearer > 0 else math.nan

    def line(self, rows: float) -> str:
        """For a terminal. rows: written so far."""
        left = self.seconds_left
        time_left = "time left unknown" if math.isnan(left) else f"about {left:,.0f} s left"
        return f"{self.changes:,.0f} changes, {self.rate:,.0f}/s, {rows:,.0f} rows, {self.left:,.0f} records to read, {time_left}"

    def as_json(self, rows: float) -> str:
        """For the registry."""
        left = self.seconds_left
        return json.dumps(
            {
                "changes": int(self.changes),
                "changes_per_s": round(self.rate),
                "rows": int(rows),
                "records_left": int(self.left),
                "seconds_left": None if math.isnan(left) else round(left, 1),
            }
        )


def told(progress: str) -> str:
    """What the registry has of a build, for a terminal; empty for none."""
    if not progress:
        return ""
    found = json.loads(progress)
    left = found["seconds_left"]
    tail = "" if not found["records_left"] else ", time left unknown" if left is None else f", about {left:,.0f} s left"
    return (
        f"{found['rows']:,} rows, {found['changes_per_s']:,} changes/s, {found['records_left']:,} records to read{tail}"
    )
