"""Every type, and what lies beyond the calendar, comes from Postgres as the JSON that the read model has, in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest
from cassandra.util import Date
from sqlalchemy import Column as SqlColumn
from sqlalchemy import Enum, MetaData, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from command_api.process.settings import Postgres, Settings
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel, descending
from tests.integration.read_api.stand import BY_TEXT, VALUES, Get, Place, serving
from tests.integration.read_api.test_read_types import KEY_VALUES, OTHER_VALUES

LITERALS = {
    "t": "'a/b ?&%ü'", "n": "12.5", "d": "'2024-02-29'", "z": "'2024-02-29 12:00:00.000001+00'",
    "ts": "'1969-12-31 23:59:59.999999'", "s": "-32768", "i": "2147483647", "b": "-9223372036854775808",
    "u": "'00000000-0000-0000-0000-000000000007'", "ok": "true", "h": "'23:59:59.999999'", "x": r"'\xff00'",
    "f": "1.1", "j": """'{"k": [1, "ü", null], "big": 123456789012345678901234567890}'""", "a": "'{1,NULL,3}'",
    "v": "'90 seconds'", "m": "0.00000001",
}  # fmt: skip
UUIDS = ReadModel(
    name="uuids", select=select(VALUES.c.t, VALUES.c.b, VALUES.c.u), partition_key=("t",), clustering_key=("b", descending("u"))
)  # fmt: skip
TEXTS = ReadModel(
    name="texts", select=select(VALUES.c.s, VALUES.c.t, VALUES.c.i), partition_key=("s",), clustering_key=(descending("t"), "i")
)  # fmt: skip
TIMES = ReadModel(
    name="times", select=select(VALUES.c.s, VALUES.c.z, VALUES.c.d), partition_key=("s",), clustering_key=("z",)
)
MOODS = SqlTable(
    "moods", MetaData(), SqlColumn("mood", Enum("sad", "ok", name="mood")), SqlColumn("n", VALUES.c.i.type)
)
BY_MOOD = ReadModel(name="by_mood", select=select(MOODS), partition_key=("n",), clustering_key=("mood",))
MODELS = (BY_TEXT, UUIDS, TEXTS, TIMES, BY_MOOD)


@pytest.fixture
def tables(place: Place, empty_database: str) -> Iterator[psycopg.Connection[Any]]:
    """VALUES and MOODS in Postgres, and their read models' tables in Cassandra; all empty."""
    for model in MODELS[1:]:
        place.session.execute(cassandra_table(model, place.settings.cassandra.keyspace).create())
    connection = psycopg.connect(empty_database, autocommit=True)
    connection.execute("create type mood as enum ('sad', 'ok')")
    for table in (VALUES, MOODS):
        text = str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        connection.execute(text.encode())
    with connection:
        yield connection


def settings_of(place: Place, conninfo: str) -> Settings:
    """Sessions whose database would have them print dates in another zone and style."""
    own = Postgres.model_validate({"reader": f"{conninfo} options='-c TimeZone=Asia/Tokyo -c DateStyle=German'"})
    read_api = place.settings.read_api.model_copy(update={"fallback_connections": 2})
    return place.settings.model_copy(update={"postgres": own, "read_api": read_api})


async def both(get: Get, path: str, parameters: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """All rows of a read from Postgres, and from the read model, page by page."""
    found: list[list[Any]] = []
    for headers, source in (({"Consistency-Token": "0/1", "Prefer": "wait=0"}, "postgres"), ({}, "read-model")):
        rows, page = [], None
        while True:
            more = {"page": page} if page else {}
            response = await get(path, params=parameters | more, headers=headers)
            assert response.status_code == 200, response.text
            body = response.json()
            assert body["source"] == source
            rows += body["rows"]
            page = body["next_page"]
            assert len(rows) < 1_000, "the pages have no end"
            if page is None:
                break
        found.append(rows)
    return found[0], found[1]


def test_every_type_is_the_same(place: Place, tables: psycopg.Connection[Any], empty_database: str) -> None:
    names = list(LITERALS)
    values = ", ".join(LITERALS.values())
    tables.execute(f"insert into all_values ({', '.join(names)}) values ({values})".encode())
    nulls = ", ".join(LITERALS[name] if name in BY_TEXT.key else "null" for name in names).replace("0007'", "0008'")
    tables.execute(f"insert into all_values ({', '.join(names)}) values ({nulls})".encode())
    expected = {name: value for name, (_, value) in (KEY_VALUES | OTHER_VALUES).items()}
    columns = cassandra_table(BY_TEXT, "").columns
    place.insert(BY_TEXT, [[(KEY_VALUES | OTHER_VALUES)[name][0] for name in columns]])
    second: list[Any] = [KEY_VALUES[name][0] if name in BY_TEXT.key else None for name in columns]
    second[list(columns).index("u")] = UUID(int=8)
    place.insert(BY_TEXT, [second])
    path = "/read/by_text/" + "/".join(quote(str(KEY_VALUES[name][1]), safe="") for name in ("t", "n", "d"))

    async def check() -> None:
        async with serving(settings_of(place, empty_database), MODELS) as get:
            other = expected | dict.fromkeys(OTHER_VALUES) | {"u": "00000000-0000-0000-0000-000000000008"}
            for limit in (1, 5):
                here, there = await both(get, path, {"limit": limit})
                assert here == there == [expected, other]
            given: dict[str, Any] = {"limit": 1}
            for clustering in BY_TEXT.clustering:
                name, text = clustering.column, str(expected[clustering.column])
                text = text.lower() if name == "ok" else text
                for operator in ("gte", "lte", "gt", "lt"):
                    here, there = await both(get, path, given | {f"{name}.{operator}": text})
                    assert here == there, (name, operator)
                given[name] = text
            here, there = await both(get, path, given)
            assert here == there == [expected]

    asyncio.run(check())


def test_order_is_cassandras(place: Place, tables: psycopg.Connection[Any], empty_database: str) -> None:
    """Uuids of all versions, of one time too; texts that a collation sorts otherwise; an enum by its names."""
    rng = Random(7)
    ids = [UUID(int=(rng.getrandbits(128) & ~(0xF << 76)) | rng.randrange(9) << 76) for _ in range(60)]
    ids += [UUID(int=(rng.getrandbits(48) << 80) | 1 << 76 | n) for n in range(20)]
    texts = ["a", "B", "b", "Z", "ä", "_", "", "a b", "ab", "A", "\U0001f600", "\uffff", "é"]
    for number, each in enumerate(ids):
        tables.execute("insert into all_values (t, b, u) values ('k', %s, %s)", (number % 2, each))
        place.insert(UUIDS, [("k", number % 2, each)])
    for number, text in enumerate(texts * 2):
        tables.execute("insert into all_values (s, t, i) values (1, %s, %s)", (text, number))
        place.insert(TEXTS, [(1, text, number)])
    for mood in ("sad", "ok"):
        tables.execute("insert into moods values (%s, 1)", (mood,))
        place.insert(BY_MOOD, [(1, mood)])

    async def check() -> None:
        async with serving(settings_of(place, empty_database), MODELS) as get:
            for order in ("forward", "reversed"):
                for path in ("uuids/k", "texts/1", "by_mood/1"):
                    for limit in (1, 3, 1000):
                        here, there = await both(get, f"/read/{path}", {"limit": limit, "order": order})
                        assert here == there
                        assert len(here) >= 2
                for each in rng.sample(ids, 12):
                    for operator in ("gt", "gte", "lt", "lte"):
                        given = {"b": 1, f"u.{operator}": str(each), "order": order, "limit": 5}
                        here, there = await both(get, "/read/uuids/k", given)
                        assert here == there
                for text in texts:
                    here, there = await both(get, "/read/texts/1", {"t.gte": text, "order": order})
                    assert here == there
            here, there = await both(get, "/read/by_mood/1", {"mood": "no such"})
            assert here == there == []

    asyncio.run(check())


def test_instants_beyond_the_calendar(place: Place, tables: psycopg.Connection[Any], empty_database: str) -> None:
    instants = {
        "infinity": 2**63 - 1, "-infinity": -(2**63), "0044-03-15 12:00:00+00 BC": -63_517_780_800_000_000,
        "12024-01-01 00:00:00+00": 317_273_587_200_000_000,
    }  # fmt: skip
    for text, micros in instants.items():
        tables.execute("insert into all_values (s, z, d) values (1, %s, 'infinity')", (text,))
        place.insert(TIMES, [(1, micros, Date(2**31 - 1))])

    async def check() -> None:
        async with serving(settings_of(place, empty_database), MODELS) as get:
            here, there = await both(get, "/read/times/1", {"limit": 1})
            assert here == there
            assert len(here) == len(instants)
            beyond = ("-8000-01-01T00:00:00Z", "+294247-01-10T04:00:54.775806Z", "infinity", "-infinity")
            for bound in (*beyond, "2024-01-01T00:00:00Z", *(row["z"] for row in here)):
                for operator in ("", ".gt", ".gte", ".lt", ".lte"):
                    here, there = await both(get, "/read/times/1", {f"z{operator}": bound, "limit": 2})
                    assert here == there, (bound, operator)

    asyncio.run(check())
