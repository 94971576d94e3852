"""What is watched: rows of read models as they must be once a command is committed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cassandra.util import Date

from deploy.local.demo_request import Request
from projections.read_model import ReadModel
from read_api.instants import MICROS_PER_DAY, parse_date, parse_timestamptz

Reply = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One row of a read model as it must be. key: Cassandra's values in the order of the model's key.

    columns: name to text (`shown`), None when the row must be gone. path, parameters: the read API's for that row.
    """

    model: ReadModel
    key: tuple[Any, ...]
    columns: Mapping[str, str] | None
    path: str
    parameters: Mapping[str, str]

    def is_seen(self, row: Mapping[str, Any] | None) -> bool:
        """Whether a row that was read, or its absence, is what must be seen."""
        if row is None or self.columns is None:
            return row is None and self.columns is None
        return all(shown(row[column]) == text for column, text in self.columns.items())


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and, given its reply, what must be seen: at least one row, each changed by the command."""

    request: Request
    sights: Callable[[Reply], tuple[Sight, ...]]


def shown(value: Any) -> str:
    """A value of Cassandra or of the read API as text that both have in common; a document's rows are joined."""
    if isinstance(value, list):
        return "; ".join(", ".join(map(shown, row.values() if isinstance(row, Mapping) else row)) for row in value)
    return "none" if value is None else str(value)


def sight(model: ReadModel, row: Reply, columns: Mapping[str, str] | None) -> Sight:
    """The sight of a row whose key is in `row`: the write side's reply, the day and the month of its time beside it."""
    texts = {**row}
    at = texts.get("created_at") or texts.get("started_at")
    if at is not None:
        day = str(Date(parse_timestamptz(at) // MICROS_PER_DAY))
        texts |= {"day": day, "date": day, "month": f"{day[:8]}01"}
    if "sent_at" in texts:
        texts["bucket"] = str(parse_timestamptz(texts["sent_at"]) // MICROS_PER_DAY // 10)
    clustering = [c.column for c in model.clustering]
    path = [column for column in model.partition_key if model.bucket is None or column != model.bucket.column]
    return Sight(
        model=model,
        key=tuple(_value(column, texts[column]) for column in model.key),
        columns=columns,
        path="/".join((model.name, *(texts[column] for column in path))),
        parameters={column: texts[column] for column in clustering},
    )


def _value(column: str, text: str) -> Any:
    if column.endswith("_id"):
        return UUID(text)
    if column.endswith("_at"):
        return parse_timestamptz(text)
    if column == "bucket":
        return int(text)
    return Date(parse_date(text)) if column in ("day", "date", "month") else text
