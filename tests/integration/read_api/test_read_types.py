"""Every type of the read models comes back from Cassandra as JSON, and can be asked for."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from types import NoneType
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from cassandra.util import Date, Time
from sqlalchemy import select

from projections.cassandra_table import cassandra_table
from projections.people import USER_PROFILE
from projections.products import PRODUCT_PAGE
from projections.read_model import ReadModel
from projections.values import Kind
from tests.integration.read_api.stand import BY_TEXT, VALUES, Place, serving

KEY_VALUES = {
    "t": ("a/b ?&%ü", "a/b ?&%ü"),
    "n": (Decimal("12.50"), "12.50"),
    "d": (Date("2024-02-29"), "2024-02-29"),
    "z": (1_709_208_000_000_001, "2024-02-29T12:00:00.000001Z"),
    "ts": (-1, "1969-12-31T23:59:59.999999"),
    "s": (-32768, -32768),
    "i": (2**31 - 1, 2**31 - 1),
    "b": (-(2**63), -(2**63)),
    "u": (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "ok": (True, True),
    "h": (Time(86_399_999_999_000), "23:59:59.999999"),
    "x": (b"\xff\x00", "/wA="),
}

OTHER_VALUES = {
    "f": (1.1, 1.1),
    "j": ('{"k": [1, "ü", null], "big": 123456789012345678901234567890}', {"k": [1, "ü", None], "big": 123456789012345678901234567890}),
    "a": ("[1,null,3]", [1, None, 3]),
    "v": (90_000_000, 90_000_000),
    "m": (Decimal("0.00000001"), "0.00000001"),
}  # fmt: skip


def test_every_type_comes_back_and_can_be_asked_for(place: Place) -> None:
    values = KEY_VALUES | OTHER_VALUES
    table = cassandra_table(BY_TEXT, "")
    place.insert(BY_TEXT, [[values[name][0] for name in table.columns]])
    nulls = [KEY_VALUES[name][0] if name in table.key else None for name in table.columns]
    place.insert(BY_TEXT, [[UUID(int=8) if value == UUID(int=7) else value for value in nulls]])
    expected = {name: value for name, (_, value) in values.items()}
    path = "/read/by_text/" + "/".join(quote(str(KEY_VALUES[name][1]), safe="") for name in ("t", "n", "d"))

    async def check() -> None:
        async with serving(place.settings) as get:
            rows = (await get(path)).json()["rows"]
            assert rows == [
                expected,
                expected | dict.fromkeys(OTHER_VALUES) | {"u": "00000000-0000-0000-0000-000000000008"},
            ]
            given: dict[str, str] = {}
            for clustering in table.clustering:
                name = clustering.column
                text = json.dumps(expected[name]) if isinstance(expected[name], bool) else str(expected[name])
                for operator, hit in (("gte", True), ("lte", True), ("gt", name == "u"), ("lt", False)):
                    response = await get(path, params=given | {f"{name}.{operator}": text})
                    assert response.status_code == 200, response.text
                    assert bool(response.json()["rows"]) == hit, (name, operator)
                given[name] = text
            assert (await get(path, params=given)).json()["rows"] == [expected]

    asyncio.run(check())


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("z", 2**63 - 1, "infinity"),
        ("z", -(2**63), "-infinity"),
        ("ts", 253_402_300_800_000_000, "+10000-01-01T00:00:00.000000"),
        ("d", Date(-(2**31)), "-infinity"),
        ("d", Date(2**31 - 1), "infinity"),
        ("f", float("nan"), "NaN"),
        ("f", float("-inf"), "-Infinity"),
    ],
)
def test_values_beyond_json_and_the_calendar(place: Place, column: str, value: Any, expected: Any) -> None:
    carried = ReadModel(name="carried", select=select(VALUES.c.t, VALUES.c[column]), partition_key=("t",))
    place.session.execute(cassandra_table(carried, place.settings.cassandra.keyspace).create())
    place.insert(carried, [("k", value)])

    async def check() -> None:
        async with serving(place.settings, [carried]) as get:
            assert (await get("/read/carried/k")).json()["rows"] == [{"t": "k", column: expected}]

    asyncio.run(check())


def test_the_applications_aggregates_and_documents_come_back_as_their_schema_says(place: Place) -> None:
    product, user = UUID(int=1), UUID(int=2)
    counts = {name: 2**53 + 1 for name, kind in PRODUCT_PAGE.columns.items() if kind.kind is Kind.INTEGER}
    page = {"product_id": product, "name": "Lamp", "description": "", "price": Decimal("12.50")} | counts
    averages = {product: "3.5000000000000000", UUID(int=3): "0.00000000000000000000", UUID(int=4): None}
    table = cassandra_table(PRODUCT_PAGE, "")
    for key, average in averages.items():
        row = page | {"product_id": key, "rating_average": None if average is None else Decimal(average)}
        place.insert(PRODUCT_PAGE, [[row.get(name) for name in table.columns]])
    homes = [(UUID(int=n), "é", f"{n} Way", "Ely", "CB7") for n in range(20)]
    profile = {"user_id": user, "name": "Ada", "addresses": homes, "addresses_truncated": True}
    place.insert(USER_PROFILE, [[profile.get(name) for name in cassandra_table(USER_PROFILE, "").columns]])

    async def check() -> None:
        async with serving(place.settings) as get:
            schemas = (await get("/openapi.json")).json()["components"]["schemas"]
            for key, average in averages.items():
                (found,) = (await get(f"/read/product_page/{key}")).json()["rows"]
                assert {name: found[name] for name in counts} == counts
                assert (found["rating_average"], found["price"]) == (average, "12.50")
                assert fits(found, schemas["product_page"]), found
            (found,) = (await get(f"/read/user_profile/{user}")).json()["rows"]
            fields = ("address_id", "label", "line", "city", "postcode")
            assert found["addresses"] == [dict(zip(fields, (str(i), *rest), strict=True)) for i, *rest in homes]
            assert found["addresses_truncated"] is True
            assert fits(found, schemas["user_profile"]), found
            assert not fits(found | {"addresses": [{}]}, schemas["user_profile"])
            assert not fits(found | {"addresses_truncated": 1}, schemas["user_profile"])

    asyncio.run(check())


JSON_TYPES = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict, "null": NoneType}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is as the part of JSON Schema says that the read API's documents are made of."""
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return any(fits(value, each) for each in schema[several])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if type(value) not in [JSON_TYPES[kind] for kind in kinds]:
        return False
    if isinstance(value, list):
        return all(fits(each, schema["items"]) for each in value)
    if isinstance(value, dict):
        return set(schema["required"]) == set(value) and all(
            fits(each, schema["properties"][name]) for name, each in value.items()
        )
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    return type(value) is not int or schema["minimum"] <= value <= schema["maximum"]
