"""Says when a document is cut at its bound: a metric at each row written so, and now and then a line in the log.

The row says it too, in its ``<name>_truncated``: nothing is cut silently. Lines are limited to one a column and
minute, each with the key of one row and the number of rows since the line before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter

from command_api.process.logging import get_logger
from projections.cassandra_table import cassandra_table
from projections.documents import truncation_markers
from projections.read_model import ReadModel

_log = get_logger(__name__)
_LOG_EVERY_S = 60.0

Row = tuple[Any, ...]


@dataclass(kw_only=True)
class _Marker:
    """A truncation marker's column and its place in a row; said_at and unsaid limit its lines."""

    column: str
    place: int
    key: tuple[str, ...]
    said_at: float = float("-inf")
    unsaid: int = 0


class Truncations:
    """Looks at what is written for these read models. counter: by read model, rows with a marker that is true."""

    def __init__(
        self, models: Iterable[ReadModel], counter: Counter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counter = counter
        self._clock = clock
        self._markers: dict[str, list[_Marker]] = {}
        for model in models:
            places = list(cassandra_table(model, "").columns)
            names = truncation_markers(model.select)
            if names:
                self._markers[model.name] = [_Marker(column=n, place=places.index(n), key=model.key) for n in names]
                counter.labels(model.name)

    def look(self, read_model: str, rows: Sequence[Row]) -> None:
        """Count and report among whole rows in the order of the table's columns, as they are written."""
        for marker in self._markers.get(read_model, ()):
            cut = [row for row in rows if row[marker.place]]
            if cut:
                self._counter.labels(read_model).inc(len(cut))
                self._say(read_model, marker, cut)

    def _say(self, read_model: str, marker: _Marker, cut: list[Row]) -> None:
        marker.unsaid += len(cut)
        now = self._clock()
        if now - marker.said_at < _LOG_EVERY_S:
            return
        _log.warning(
            "a document is cut at its bound",
            read_model=read_model,
            column=marker.column,
            key=dict(zip(marker.key, cut[-1], strict=False)),
            rows=marker.unsaid,
        )
        marker.said_at, marker.unsaid = now, 0
