"""The read API on a real Cassandra: rows and positions are written by hand, every reply is compared with them.

Each test has a keyspace of its own. Requests go through the ASGI application in this process; `test_serve` starts the
command. `away` puts a TCP proxy in front of Cassandra that a test can close.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from cassandra.util import Date, Time
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    select,
)
from sqlalchemy import BigInteger as Big
from sqlalchemy import Date as SqlDate
from sqlalchemy import Time as SqlTime
from sqlalchemy.dialects.postgresql import JSONB

from command_api.lsn import Lsn
from command_api.process.settings import Cassandra, Projector, ReadApi, Settings
from projections import ORDERS_BY_USER, READ_MODELS
from projections.cassandra_table import POSITIONS, cassandra_table, create_positions, write_timestamp
from projections.read_model import ReadModel, descending
from read_api.app import ReadApi as Application

if TYPE_CHECKING:
    from cassandra.cluster import Session

VALUES = Table(
    "all_values",
    MetaData(),
    *(
        Column(name, kind)
        for name, kind in {
            "t": Text(),
            "n": Numeric(12, 2),
            "d": SqlDate(),
            "z": DateTime(timezone=True),
            "ts": DateTime(),
            "s": SmallInteger(),
            "i": Integer(),
            "b": Big(),
            "u": Uuid(),
            "ok": Boolean(),
            "f": Float(),
            "x": LargeBinary(),
            "j": JSONB(),
            "a": ARRAY(Integer()),
            "h": SqlTime(),
            "v": Interval(),
            "m": Numeric(),
        }.items()
    ),
)
# Every type that can be a key is one here; the others are carried.
BY_TEXT = ReadModel(
    name="by_text",
    select=select(VALUES),
    partition_key=("t", "n", "d"),
    clustering_key=(descending("z"), "ts", "s", "i", "b", "u", "ok", "h", "x"),
)
BY_NUMBER = ReadModel(
    name="by_number",
    select=select(VALUES.c.b, VALUES.c.i, VALUES.c.t),
    partition_key=("b",),
    clustering_key=(descending("i"), "t"),
)
ONE = ReadModel(name="one", select=select(VALUES.c.t, VALUES.c.b), partition_key=("t",))
MODELS = (BY_TEXT, BY_NUMBER, ONE)
Get = Callable[..., Awaitable[httpx.Response]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A keyspace with tables, and how to fill it."""

    session: Session
    settings: Settings

    def insert(self, model: ReadModel, rows: Sequence[Sequence[Any]], lsn: int = 1) -> None:
        """Whole rows in the order of the table's columns, as a worker would write them at `lsn`."""
        statement = self.session.prepare(
            cassandra_table(model, self.settings.cassandra.keyspace).insert() + " USING TIMESTAMP ?"
        )
        futures = [self.session.execute_async(statement, (*row, write_timestamp(1, lsn))) for row in rows]
        for future in futures:
            future.result()

    def cover(self, model: ReadModel, lsn: int, *, shard: int = 0, age: float = 0.0) -> None:
        """Publish a position whose transaction committed `age` seconds ago."""
        committed = int((time.time() - age) * 1e6)
        self.session.execute(
            f"INSERT INTO {self.settings.cassandra.keyspace}.{POSITIONS}"
            " (projection, read_model, shard, lsn, epoch, committed_at) VALUES (%s, %s, %s, %s, 1, %s)"
            f" USING TIMESTAMP {write_timestamp(1, lsn)}",
            (self.settings.projector.projection, model.name, shard, lsn, committed),
        )


@pytest.fixture
def place(stack: Any, cassandra_session: Session, keyspace: str) -> Place:
    """Tables of MODELS and READ_MODELS, all empty, no position."""
    host, port = stack.cassandra
    settings = Settings(
        cassandra=Cassandra(contact_points=(host,), port=port, keyspace=keyspace),
        projector=Projector(projection="test"),
        read_api=ReadApi(wait_ms=1_500, page_rows=100, max_page_rows=1_000),
    )
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cassandra_session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    cassandra_session.execute(create_positions(keyspace))
    for model in (*MODELS, *READ_MODELS):
        for statement in cassandra_table(model, keyspace).creation():
            cassandra_session.execute(statement)
    return Place(session=cassandra_session, settings=settings)


@asynccontextmanager
async def serving(settings: Settings, models: Sequence[ReadModel] = (*MODELS, *READ_MODELS)) -> AsyncIterator[Get]:
    """The application, connected; yields a GET."""
    application = Application(settings, models)
    await application.service.start()
    try:
        await asyncio.wait_for(application.service.store.connected(), 20)
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client.get
    finally:
        await application.service.stop()


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of a response."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["hint"]
    return problem


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


def test_ranges_orders_and_pages_equal_one_read(place: Place) -> None:
    # The table's order is i descending, then t ascending.
    rows = sorted(((7, i, f"t{j}") for i in range(100) for j in range(10)), key=lambda row: (-row[1], row[2]))
    place.insert(BY_NUMBER, rows)
    place.insert(BY_NUMBER, [(8, 1, "another partition")])
    whole = [{"b": b, "i": i, "t": t} for b, i, t in rows]

    async def walk(get: Get, limit: int, **parameters: Any) -> list[dict[str, Any]]:
        found, page, pages = [], None, 0
        while page is not None or not pages:
            turn = parameters | {"limit": limit} | ({"page": page} if page is not None else {})
            response = await get("/read/by_number/7", params=turn)
            assert response.status_code == 200, response.text
            assert len(response.json()["rows"]) <= limit
            found += response.json()["rows"]
            page, pages = response.json()["next_page"], pages + 1
        assert pages >= len(found) / limit
        return found

    async def check() -> None:
        async with serving(place.settings) as get:
            assert (await get("/read/by_number/7", params={"limit": 1000})).json()["rows"] == whole
            assert len((await get("/read/by_number/7")).json()["rows"]) == 100
            for limit in (1, 7, 100, 999, 1000):
                if limit > 1:
                    assert await walk(get, limit) == whole
                    assert await walk(get, limit, order="reversed") == whole[::-1]
                assert await walk(get, limit, i=5) == [row for row in whole if row["i"] == 5]
            assert await walk(get, 33, **{"i.gte": 10, "i.lt": 90}) == [row for row in whole if 10 <= row["i"] < 90]
            assert await walk(get, 33, **{"i.gt": 10, "order": "reversed"}) == [r for r in whole if r["i"] > 10][::-1]
            assert await walk(get, 3, **{"i": 4, "t.lte": "t5"}) == [r for r in whole if r["i"] == 4 and r["t"] <= "t5"]
            assert await walk(get, 3, i=4, t="t5") == [{"b": 7, "i": 4, "t": "t5"}]
            assert (await get("/read/by_number/9")).json()["rows"] == []

    asyncio.run(check())


def test_a_page_belongs_to_its_query(place: Place) -> None:
    place.insert(BY_NUMBER, [(7, i, "t") for i in range(10)])

    async def check() -> None:
        async with serving(place.settings) as get:
            page = (await get("/read/by_number/7", params={"limit": 3})).json()["next_page"]
            assert (await get("/read/by_number/7", params={"limit": 5, "page": page})).status_code == 200
            for path, parameters in (
                ("/read/by_number/8", {}),
                ("/read/by_number/7", {"order": "reversed"}),
                ("/read/by_number/7", {"i.gte": 1}),
                ("/read/one/7", {}),
            ):
                problem = refusal(await get(path, params=parameters | {"page": page}), 400)
                assert problem["field"] == "page"
            for garbled in ("", "x", page[:-4], page[4:], page + "AAAA", page.swapcase()):
                refusal(await get("/read/by_number/7", params={"page": garbled}), 400)

    asyncio.run(check())


def test_reply_says_what_it_covers(place: Place) -> None:
    place.insert(ONE, [("a", 1)])

    async def check() -> None:
        async with serving(place.settings) as get:
            before = await get("/read/one/a")
            assert (before.json()["covered_lsn"], before.json()["lag_seconds"]) == ("0/0", None)
            assert before.headers["covered-lsn"] == "0/0"
            assert "lag-seconds" not in before.headers
            place.cover(ONE, 0x16_B374D848, age=5)
            place.cover(ONE, 0x16_00000010, shard=1, age=60)
            await asyncio.sleep(0.02)
            after = await get("/read/one/a")
            assert after.json()["covered_lsn"] == after.headers["covered-lsn"] == "16/10"
            assert 60 <= after.json()["lag_seconds"] < 90
            assert float(after.headers["lag-seconds"]) == pytest.approx(after.json()["lag_seconds"], abs=1e-5)
            metrics = (await get("/metrics")).text
            assert 'read_api_request_seconds_count{model="one",status="200"} 2.0' in metrics

    asyncio.run(check())


def test_a_token_waits_for_its_position_and_not_longer(place: Place) -> None:
    place.insert(ONE, [("a", 1)])
    place.cover(ONE, 100)

    async def check() -> None:
        loop = asyncio.get_running_loop()
        async with serving(place.settings) as get:
            token = {"Consistency-Token": str(Lsn(100))}
            assert (await get("/read/one/a", headers=token)).json()["covered_lsn"] == str(Lsn(100))
            delays = []
            for lsn in range(200, 220):
                began = loop.time()
                token = {"Consistency-Token": str(Lsn(lsn))}
                waiting = [asyncio.create_task(get("/read/one/a", headers=token)) for _ in range(5)]
                await asyncio.sleep(0.02)
                assert not any(task.done() for task in waiting)
                await asyncio.to_thread(place.insert, ONE, [("a", lsn)], lsn)
                await asyncio.to_thread(place.cover, ONE, lsn)
                moved = loop.time()
                for reply in await asyncio.gather(*waiting):
                    assert reply.status_code == 200, reply.text
                    assert reply.json()["rows"] == [{"t": "a", "b": lsn}]
                    assert Lsn.parse(reply.json()["covered_lsn"]) >= lsn
                delays.append(loop.time() - moved)
                assert loop.time() - began < 1.5
            assert sorted(delays)[len(delays) // 2] < 0.05, delays
            metrics = (await get("/metrics")).text
            assert 'read_api_token_wait_seconds_count{model="one"} 100.0' in metrics

    asyncio.run(check())


def test_a_token_beyond_the_bound_is_refused_with_the_lag(place: Place) -> None:
    place.cover(ONE, 100, age=3)

    async def check() -> None:
        async with serving(place.settings) as get:
            for parameters, headers, least, most in (
                ({"token": "FFFFFFFF/FFFFFFFF"}, {}, 1.5, 3.0),
                ({}, {"Consistency-Token": "0/65", "Prefer": "wait=0.1"}, 0.1, 1.0),
                ({"token": "0/65"}, {"Prefer": "wait=0"}, 0.0, 0.5),
                ({"token": "0/65"}, {"Prefer": "wait=1000"}, 1.5, 3.0),
            ):
                began = time.perf_counter()
                response = await get("/read/one/a", params=parameters, headers=headers)
                problem = refusal(response, 503)
                assert least <= time.perf_counter() - began < most
                assert problem["type"].endswith("token-not-covered")
                assert problem["covered_lsn"] == str(Lsn(100))
                assert problem["lag_seconds"] >= 3
                assert int(response.headers["retry-after"]) >= 1
            assert 'read_api_token_timeouts_total{model="one"} 4.0' in (await get("/metrics")).text

    asyncio.run(check())


def test_a_later_page_is_never_older(place: Place) -> None:
    place.insert(BY_NUMBER, [(7, i, "t") for i in range(10)])
    place.cover(BY_NUMBER, 500)

    async def check() -> None:
        async with serving(place.settings) as get:
            page = (await get("/read/by_number/7", params={"limit": 3})).json()["next_page"]
        # Another process that still knows an older position: here, a projection whose position went back.
        keyspace = place.settings.cassandra.keyspace
        place.session.execute(f"TRUNCATE {keyspace}.{POSITIONS}")
        place.cover(BY_NUMBER, 499)
        async with serving(place.settings) as get:
            refusal(await get("/read/by_number/7", params={"page": page}, headers={"Prefer": "wait=0.1"}), 503)
            waiting = asyncio.create_task(get("/read/by_number/7", params={"page": page}))
            await asyncio.sleep(0.05)
            await asyncio.to_thread(place.cover, BY_NUMBER, 500)
            assert (await waiting).json()["covered_lsn"] == str(Lsn(500))

    asyncio.run(check())


def test_rows_are_never_older_than_the_position_they_are_shown_under(place: Place) -> None:
    """A writer moves row and position on, without pause; reading rows before the position fails here at once."""
    place.insert(ONE, [("a", 1)])
    place.cover(ONE, 1)
    stop = threading.Event()

    def write() -> None:
        lsn = 1
        while not stop.is_set():
            lsn += 1
            place.insert(ONE, [("a", lsn)], lsn)
            place.cover(ONE, lsn)

    async def check() -> None:
        seen = set()
        async with serving(place.settings) as get:

            async def reads() -> None:
                token = "0/0"
                for _ in range(150):
                    response = await get("/read/one/a", headers={"Consistency-Token": token})
                    assert response.status_code == 200, response.text
                    body = response.json()
                    assert body["rows"][0]["b"] >= Lsn.parse(body["covered_lsn"]) >= Lsn.parse(token)
                    token = body["covered_lsn"]
                    seen.add(token)

            await asyncio.gather(*(reads() for _ in range(8)))
        assert len(seen) > 20

    writer = threading.Thread(target=write)
    writer.start()
    try:
        asyncio.run(check())
    finally:
        stop.set()
        writer.join()


def test_every_route_refuses_what_it_does_not_know(place: Place) -> None:
    good = {"uuid": str(UUID(int=1)), "text": "a", "date": "2024-01-01", "bigint": "1", "decimal": "1.00"}

    async def check() -> None:
        async with serving(place.settings) as get:
            models = {model.name: cassandra_table(model, "") for model in (*MODELS, *READ_MODELS)}
            assert set((await get("/read")).json()["routes"]) == set(models)
            for name, table in models.items():
                keys = [good[table.columns[column].cql] for column in table.partition_key]
                path = f"/read/{name}/" + "/".join(keys)
                assert (await get(path)).status_code == 200
                for parameters, status in (
                    ({"nope": "1"}, 400), ({"limit": "0"}, 422), ({"limit": "1001"}, 422), ({"limit": "x"}, 422),
                    ({"page": "x"}, 400), ({"token": "x"}, 400), ({table.partition_key[0]: "1"}, 400),
                ):  # fmt: skip
                    problem = refusal(await get(path, params=parameters), status)
                    assert problem["field"]
                refusal(await get(path + "?limit=1&limit=1"), 400)
                refusal(await get(path, headers={"Consistency-Token": "x"}), 400)
                refusal(await get(path, headers={"Prefer": "wait=x"}), 400)
                refusal(await get(path + "/more"), 404)
                refusal(await get(f"/read/{name}"), 404)
                refusal(await get(f"/read/{name}/%FF" + "/1" * (len(keys) - 1)), 422)
                for index, column in enumerate(table.partition_key):
                    if table.columns[column].cql != "text":
                        wrong = [*keys[:index], "~", *keys[index + 1 :]]
                        assert refusal(await get(f"/read/{name}/" + "/".join(wrong)), 422)["field"] == column
                for clustering in table.clustering[1:]:
                    assert refusal(await get(path, params={clustering.column: "1"}), 400)["field"] == clustering.column
            assert refusal(await get("/read/nope/1"), 404)["read_models"] == list(models)
            refusal(await get("/elsewhere"), 404)
            assert (await get("/healthz")).json() == {"status": "ok"}
            assert (await get("/readyz")).json()["status"] == "ready"
            assert set((await get("/openapi.json")).json()["paths"]) > {"/read/one/{t}"}

    asyncio.run(check())


def test_methods(place: Place) -> None:
    place.insert(ONE, [("a", 1)])

    async def check() -> None:
        application = Application(place.settings, MODELS)
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.post("/read/one/a")
            refusal(response, 405)
            assert response.headers["allow"] == "GET, HEAD"
            refusal(await client.delete("/metrics"), 405)

    asyncio.run(check())


def test_tables_that_are_not_there(place: Place) -> None:
    keyspace = place.settings.cassandra.keyspace
    lonely = ReadModel(name="lonely", select=select(VALUES.c.t, VALUES.c.b), partition_key=("t",))

    async def check() -> None:
        async with serving(place.settings, [lonely]) as get:
            assert "projector setup" in refusal(await get("/read/lonely/a"), 503)["hint"]
            place.session.execute(cassandra_table(lonely, keyspace).create())
            assert (await get("/read/lonely/a")).json()["rows"] == []
            place.session.execute(f"DROP TABLE {keyspace}.{POSITIONS}")
            await asyncio.sleep(0.05)
            assert "projector setup" in refusal(await get("/read/lonely/a"), 503)["hint"]

    asyncio.run(check())


class Proxy:
    """A TCP proxy to Cassandra that can be away."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def come(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def go(self) -> None:
        """Refuse new connections and cut those that are open."""
        for one in (self._listener, *self._open):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._listener, self._open = None, []

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = listener.accept()
                outer = socket.create_connection(self._target)
                self._open += [inner, outer]
                for source, sink in ((inner, outer), (outer, inner)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(stack: Any) -> Iterator[Proxy]:
    """A proxy, away until it comes."""
    proxy = Proxy(stack.cassandra)
    yield proxy
    proxy.go()


def test_cassandra_away_is_a_503_and_heals(place: Place, proxy: Proxy) -> None:
    place.insert(ONE, [("a", 1)])
    section = place.settings.cassandra.model_copy(update={"port": proxy.port, "contact_points": ("127.0.0.1",)})
    settings = place.settings.model_copy(update={"cassandra": section})

    async def until_it_answers(client: httpx.AsyncClient) -> None:
        deadline = time.monotonic() + 30
        while (response := await client.get("/read/one/a")).status_code != 200:
            assert response.headers["retry-after"] == "1"
            refusal(response, 503)
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert response.json()["rows"] == [{"t": "a", "b": 1}]

    async def check() -> None:
        application = Application(settings, MODELS)
        await application.service.start()
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            refusal(await client.get("/read/one/a"), 503)  # away at start
            refusal(await client.get("/readyz"), 503)
            proxy.come()
            await until_it_answers(client)
            proxy.go()
            refusal(await client.get("/read/one/a"), 503)
            refusal(await client.get("/read/one/a", headers={"Consistency-Token": "0/1"}), 503)
            proxy.come()
            await until_it_answers(client)
        await application.service.stop()

    asyncio.run(check())


def test_serve(place: Place) -> None:
    now = datetime.now(UTC)
    order = [UUID(int=1), int(now.timestamp() * 1e6), UUID(int=2), "placed", "eu", "Ann"]
    place.insert(ORDERS_BY_USER, [order])
    cassandra = place.settings.cassandra
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "LOCKSTEP_CASSANDRA__CONTACT_POINTS": json.dumps(cassandra.contact_points),
        "LOCKSTEP_CASSANDRA__PORT": str(cassandra.port),
        "LOCKSTEP_CASSANDRA__KEYSPACE": cassandra.keyspace,
        "LOCKSTEP_PROJECTOR__PROJECTION": "test",
    }
    command = [sys.executable, "-m", "read_api", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                deadline = time.monotonic() + 30
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if client.get("/readyz").status_code == 200:
                            break
                    assert process.poll() is None, process.stderr and process.stderr.read()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                reply = client.get(f"/read/orders_by_user/{UUID(int=1)}")
                assert reply.json()["rows"][0]["user_name"] == "Ann"
                assert datetime.fromisoformat(reply.json()["rows"][0]["created_at"]) - now < timedelta(milliseconds=1)
                assert client.head(f"/read/orders_by_user/{UUID(int=1)}").headers["covered-lsn"] == "0/0"
                # A request under way when the signal comes is still answered.
                slow: list[httpx.Response] = []
                url = f"http://127.0.0.1:{port}/read/orders_by_user/{UUID(int=1)}?token=0/1"
                waiting = threading.Thread(target=lambda: slow.append(httpx.get(url, trust_env=False)))
                waiting.start()
                time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                waiting.join(15)
                assert slow[0].status_code == 503
            process.wait(15)
        finally:
            process.kill()
    assert process.returncode == 0
