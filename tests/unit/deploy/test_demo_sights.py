"""What the demonstration watches: every read model is among it, with the right key, and a wrong row is not taken for it."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

from cassandra.util import Date

from deploy.local.demo_sights import WATCHED, Rounds, Sight, Step
from projections import INCREMENTAL

AT = "2025-03-01T00:00:00.000007Z"
MICROS = 1_740_787_200_000_007
DAY = Date(20_148)


def rounds() -> list[tuple[Step, tuple[Sight, ...]]]:
    """One round, each command answered as the write side would."""
    made = Rounds(user=uuid4(), products=tuple(uuid4() for _ in range(4)), drivers=(uuid4(),), random=Random(1))
    row: dict[str, Any] = {}
    seen = []
    for step in made.steps(1):
        request = step.request
        if request.method == "POST" and request.expected == 201:
            row = {**(request.body or {}), "created_at": AT, "started_at": AT, "status": "placed", "fare": None}
        reply = {"deleted": True} if request.method == "DELETE" else row | (request.body or {})
        seen.append((step, step.sights(reply)))
    return seen


def test_every_read_model_is_watched() -> None:
    assert WATCHED == INCREMENTAL
    assert {sight.model.name for _, sights in rounds() for sight in sights} == {model.name for model in INCREMENTAL}


def test_a_key_is_cassandras_and_a_path_the_read_apis() -> None:
    for _, sights in rounds():
        for sight in sights:
            values = dict(zip(sight.model.key, sight.key, strict=True))
            assert len(sight.path.split("/")) == 1 + len(sight.model.partition_key)
            assert set(sight.parameters) == {c.column for c in sight.model.clustering}
            for column, value in values.items():
                wanted = {"created_at": MICROS, "started_at": MICROS, "day": DAY, "date": DAY}
                assert value == wanted.get(column, value)
                assert isinstance(value, UUID) == column.endswith("_id")
    by_city = next(s for _, sights in rounds() for s in sights if s.model.name == "trips_by_city_date")
    assert by_city.path == f"trips_by_city_date/{by_city.key[0]}/2025-03-01"
    assert by_city.parameters["started_at"] == AT


def test_only_the_row_as_it_must_be_is_seen() -> None:
    steps = {step.request.what: sights for step, sights in rounds()}
    (gone,) = steps["reviews deleted"]
    assert gone.is_seen(None)
    assert not gone.is_seen({"rating": 5, "body": ""})
    driver, city = steps["fares corrected"]
    assert driver.columns is not None
    row = {"rider_id": UUID(driver.columns["rider_id"]), "fare": Decimal(driver.columns["fare"])}
    for sight in (driver, city):
        assert sight.is_seen(row)
        assert not sight.is_seen({**row, "fare": Decimal(0)})
        assert not sight.is_seen({**row, "fare": None})
        assert not sight.is_seen(None)
    (unfinished, _) = steps["trips started"]
    assert unfinished.is_seen({**row, "fare": None})


def test_a_rename_must_be_seen_in_orders_and_reviews() -> None:
    steps = {step.request.what: (step, sights) for step, sights in rounds()}
    called = (steps["renames"][0].request.body or {})["name"]
    assert all((sight.columns or {})["user_name"] == called for sight in steps["renames"][1])
    assert (steps["reviews written"][1][0].columns or {})["author_name"] == called
    assert "user_name" not in (steps["orders placed"][1][0].columns or {})
