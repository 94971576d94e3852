"""Documents that are cut are counted row by row, and told of once a minute with a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import Counter
from sqlalchemy import Column, Integer, MetaData, Table, Text, select
from structlog.testing import capture_logs

from projections.documents import embedded
from projections.read_model import ReadModel
from projector.metrics import WorkerMetrics
from projector.truncations import Truncations

METADATA = MetaData()
owners = Table("owners", METADATA, Column("owner_id", Integer, primary_key=True), Column("name", Text))
things = Table("things", METADATA, Column("thing_id", Integer, primary_key=True), Column("owner_id", Integer))
OWN = select(things.c.thing_id).where(things.c.owner_id == owners.c.owner_id).order_by(things.c.thing_id)
TWICE = ReadModel(
    name="twice",
    select=select(
        *embedded("some", OWN, bound=1), owners.c.name, *embedded("more", OWN, bound=2), owners.c.owner_id
    ),
    partition_key=("owner_id",),
    clustering_key=("name",),
)  # fmt: skip
PLAIN = ReadModel(name="plain", select=select(owners), partition_key=("owner_id",))


@pytest.fixture
def said() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def count(counter: Counter, model: str) -> float:
    return counter.labels(model)._value.get()


def test_rows_are_counted_and_one_line_a_minute_names_a_key(said: list[Any]) -> None:
    counter, clock = WorkerMetrics().truncated, Clock()
    truncations = Truncations((PLAIN, TWICE), counter, clock)
    # The table's order: owner_id, name, then some, some_truncated, more, more_truncated.
    truncations.look("twice", [(1, "a", "[]", 0, "[]", 0), (2, "b", "[[1]]", 1, "[]", 0)])
    truncations.look("plain", [(1, 1)])
    assert count(counter, "twice") == 1
    line = {"event": "a document is cut at its bound", "log_level": "warning", "read_model": "twice"}
    assert said == [line | {"column": "some_truncated", "key": {"owner_id": 2, "name": "b"}, "rows": 1}]
    clock.now += 59
    truncations.look("twice", [(3, "c", "[[1]]", 1, "[[1],[2]]", 1), (4, "d", "[[1]]", 1, "[[1],[2]]", 0)])
    assert said[1:] == [line | {"column": "more_truncated", "key": {"owner_id": 3, "name": "c"}, "rows": 1}]
    clock.now += 1
    truncations.look("twice", [(5, "e", "[[1]]", 1, "[]", 0), (6, "f", "[]", 0, "[]", 0)])
    assert said[2:] == [line | {"column": "some_truncated", "key": {"owner_id": 5, "name": "e"}, "rows": 3}]
    assert count(counter, "twice") == 5


def test_a_model_with_documents_is_exported_from_the_start() -> None:
    metrics = WorkerMetrics()
    Truncations((PLAIN, TWICE), metrics.truncated)
    (family,) = (f for f in metrics.registry.collect() if f.name == "projection_documents_truncated")
    totals = {s.labels["read_model"]: s.value for s in family.samples if s.name.endswith("_total")}
    assert totals == {"twice": 0.0}
