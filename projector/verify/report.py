"""What a verification found, as values, as text and as JSON. Pure."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from command_api.lsn import Lsn
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel
from projections.values import Kind, ValueType
from projector.verify.judge import Look

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_INFINITE = {(1 << 63) - 1: "infinity", -(1 << 63): "-infinity", (1 << 31) - 1: "infinity", -(1 << 31): "-infinity"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One row that differs. key, expected (in Postgres), found (in Cassandra): column to value; None: no such row.

    written: the newest write timestamp of the found row's cells.
    """

    key: dict[str, Any]
    expected: dict[str, Any] | None
    found: dict[str, Any] | None
    written: int | None

    @property
    def kind(self) -> str:
        """missing, extra or different."""
        return "missing" if self.found is None else "extra" if self.expected is None else "different"

    def __str__(self) -> str:
        if self.expected is None or self.found is None:
            expected, found = self.expected, self.found
        else:  # only what differs is worth a line
            names = [name for name, value in self.expected.items() if self.found.get(name) != value]
            expected = {name: self.expected[name] for name in names}
            found = {name: self.found[name] for name in names}
        return f"{self.kind}  key {_text(self.key)}  expected {_text(expected)}  found {_text(found)}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One read model's verification.

    position: the point of the log that was compared. rows: in Postgres then. sampled: percent of the partitions.
    differing: rows that differ. differences: all of them, or the first ones. moving: keys that changed at every look,
    and are written whole at each change. left_out: columns that can't be compared. repaired: keys whose repair was asked
    for. rebuilt: whether the replica was. left: rows that still differ after that, None when no repair was asked for.
    beyond_repair: of those, rows that somebody wrote with a timestamp above any that a worker writes now.
    dead_letters: rows that differ because Cassandra refuses them; they are not among the others.
    """

    read_model: str
    position: Lsn
    rows: int
    found_rows: int
    sampled: float
    differing: int
    differences: tuple[Difference, ...]
    moving: int = 0
    left_out: tuple[str, ...] = ()
    seconds: float = 0.0
    repaired: int = 0
    rebuilt: bool = False
    left: int | None = None
    beyond_repair: int = 0
    dead_letters: int = 0

    @property
    def mended(self) -> bool:
        """Whether every difference is gone."""
        return self.differing == 0 or self.left == 0


def difference(model: ReadModel, key: tuple[Any, ...], look: Look, columns: tuple[str, ...]) -> Difference:
    """A look in words that people read. columns: those that were compared, the key first."""
    kinds = cassandra_table(model, "any").columns
    others = columns[len(model.key) :]

    def row(values: tuple[Any, ...] | None) -> dict[str, Any] | None:
        if values is None:
            return None
        return {name: shown(value, kinds[name]) for name, value in zip(others, values, strict=True)}

    return Difference(
        key={name: shown(value, kinds[name]) for name, value in zip(model.key, key, strict=True)},
        expected=row(look.expected),
        found=row(look.found),
        written=look.written,
    )


def shown(value: Any, kind: ValueType) -> Any:
    """A replica value as a person reads it: dates and times as ISO 8601, numerics with their point, bytes as base64."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if not isinstance(value, int):
        return value
    match kind.kind:
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.NUMERIC:
            return str(Decimal(value).scaleb(-(kind.scale or 0)))
        case Kind.DATE | Kind.TIMESTAMP | Kind.TIMESTAMPTZ if value in _INFINITE:
            return _INFINITE[value]
    try:
        match kind.kind:
            case Kind.DATE:
                return (_EPOCH + dt.timedelta(days=value)).date().isoformat()
            case Kind.TIMESTAMP:
                return (_EPOCH + dt.timedelta(microseconds=value)).replace(tzinfo=None).isoformat()
            case Kind.TIMESTAMPTZ:
                return (_EPOCH + dt.timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
            case Kind.TIME:
                return (_EPOCH + dt.timedelta(microseconds=value)).time().isoformat()
    except OverflowError:  # a year beyond Python's
        pass
    return value


def lines(report: Report, show: int) -> Iterator[str]:
    """What the command prints of a read model."""
    percent = "" if report.sampled >= 100 else f", a sample of {report.sampled:g} %"
    head = f"{report.read_model}: {report.rows:,} rows at {report.position}{percent}, {report.seconds:.1f} s"
    yield f"{head}: {'equal' if not report.differing else f'{report.differing:,} differ'}"
    for each in report.differences[:show]:
        yield f"  {each}"
    if report.differing > show:
        yield f"  … and {report.differing - show:,} more; --json lists them"
    if report.left_out:
        yield f"  not compared: {', '.join(report.left_out)}"
    if report.moving:
        yield f"  {report.moving:,} keys changed at every look; each change writes them whole"
    if report.left is not None:
        rebuilt = "the replica was wrong and is rebuilt, " if report.rebuilt else ""
        left = f"{report.left:,} still differ" if report.left else "all are equal now"
        yield f"  repair: {rebuilt}{report.repaired:,} keys recomputed, {left}"
    if report.dead_letters:
        yield f"  {report.dead_letters:,} rows are not there because Cassandra refuses them: `projector dead-letters list`"
    if report.beyond_repair:
        yield (
            f"  {report.beyond_repair:,} of them were written from elsewhere with a timestamp above the log's position: delete"
            f" them with that timestamp, or `projector reset {report.read_model}`"
        )


def as_json(reports: list[Report]) -> str:
    """An object with a list of read models."""
    found = []
    for report in reports:
        value = msgspec.to_builtins(report, enc_hook=str)
        value["mended"] = report.mended
        for each, original in zip(value["differences"], report.differences, strict=True):
            each["kind"] = original.kind
        found.append(value)
    return msgspec.json.format(msgspec.json.encode({"read_models": found}), indent=1).decode()


def _text(row: dict[str, Any] | None) -> str:
    return "no row" if row is None else msgspec.json.encode(row).decode()
