"""What a read with a token says when its read model is behind and Postgres is away, slow, busy, or another server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken
from command_api.process.settings import Postgres, Settings
from projections import READ_MODELS
from projections.people import USER_PROFILE
from projections.posts import POST_BY_ID
from read_api.app import ReadApi as Application
from tests.integration.read_api.proxy import Proxy
from tests.integration.read_api.stand import Get, Place, refusal, serving

USER = UUID(int=1)
PATH = f"/read/user_profile/{USER}"
AT_ONCE = {"Prefer": "wait=0"}


@pytest.fixture
def token(database: str) -> str:
    """A user, and the position after it; no read model covers it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("insert into users (user_id, name) values (%s, 'Ada')", (USER,))
        row = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    """A proxy to Postgres, away until it comes."""
    there = conninfo_to_dict(postgres.reader.get_secret_value())
    proxy = Proxy((str(there["host"]), int(there["port"])))
    yield proxy
    proxy.go()


def behind(place: Place, postgres: Postgres, port: int | None = None, **read_api: Any) -> Settings:
    """The settings with Postgres in them, behind a proxy's port when it is given."""
    conninfo = postgres.reader.get_secret_value()
    reader = SecretStr(conninfo if port is None else make_conninfo(conninfo, port=port))
    values = {"wait_ms": 200, "fallback_connections": 2, "fallback_timeout_ms": 500} | read_api
    return place.settings.model_copy(
        update={
            "postgres": postgres.model_copy(update={"reader": reader}),
            "read_api": place.settings.read_api.model_copy(update=values),
        }
    )


def from_postgres(response: httpx.Response) -> dict[str, Any]:
    """The body of a reply that Postgres gave."""
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    assert (body["source"], response.headers["source"]) == ("postgres", "postgres")
    return body


def metric(text: str, name: str) -> float:
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name)))


def test_a_token_that_is_not_covered_is_answered_by_postgres(place: Place, postgres: Postgres, token: str) -> None:
    async def check() -> None:
        async with serving(behind(place, postgres), READ_MODELS) as get:
            began = time.perf_counter()
            response = await get(PATH, headers={"Consistency-Token": token})
            assert time.perf_counter() - began >= 0.2, "it did not wait for the read model"
            body = from_postgres(response)
            assert [row["name"] for row in body["rows"]] == ["Ada"]
            assert body["covered_lsn"] == response.headers["covered-lsn"] == token
            assert body["lag_seconds"] == 0
            assert body["next_page"] is None
            # What was shown may be newer than the token: the next read is not to be older.
            shown = ConsistencyToken.parse(response.headers["consistency-token"])
            assert shown.position(["users"]) >= Lsn.parse(token)
            plain = await get(PATH)
            assert (plain.json()["source"], plain.json()["rows"]) == ("read-model", [])
            exposed = (await get("/metrics")).text
            assert metric(exposed, 'read_api_fallbacks_total{read_model="user_profile"}') == 1
            assert metric(exposed, 'read_api_fallback_seconds_count{read_model="user_profile"}') == 1
            assert 'read_api_fallbacks_refused_total{read_model="user_profile"}' not in exposed
            place.cover(USER_PROFILE, int(Lsn.parse(token)))
            covered = await get(PATH, headers={"Consistency-Token": token})
            assert covered.json()["source"] == "read-model"

    asyncio.run(check())


def test_what_a_columns_budget_holds_back_is_asked_of_postgres_soon(
    place: Place, postgres: Postgres, token: str
) -> None:
    async def check() -> None:
        async with serving(behind(place, postgres, wait_ms=60_000), READ_MODELS) as get, asyncio.timeout(20):
            path, with_token = f"/read/post_by_id/{USER}", {"Consistency-Token": token}
            assert from_postgres(await get(path, headers=with_token))["rows"] == []
            preferring = asyncio.create_task(get(path, headers=with_token | {"Prefer": "wait=30"}))
            done, _ = await asyncio.wait([preferring], timeout=1)
            assert not done, "a caller who prefers to wait does"
            place.cover(POST_BY_ID, int(Lsn.parse(token)))
            assert (await preferring).json()["source"] == "read-model"

    asyncio.run(check())


def test_postgres_away_too_is_a_503_with_the_lag_and_heals(
    place: Place, postgres: Postgres, proxy: Proxy, token: str
) -> None:
    place.cover(USER_PROFILE, 1, age=3)
    headers = {"Consistency-Token": token} | AT_ONCE

    async def until_it_answers(get: Get) -> None:
        deadline = time.monotonic() + 20
        while (response := await get(PATH, headers=headers)).status_code != 200:
            assert time.monotonic() < deadline, response.text
            await asyncio.sleep(0.05)  # the deadline is above; the pool connects in its own time
        from_postgres(response)

    async def check() -> None:
        async with serving(behind(place, postgres, proxy.port), READ_MODELS) as get:
            for _ in range(2):
                began = time.perf_counter()
                response = await get(PATH, headers=headers)
                problem = refusal(response, 503)
                assert problem["type"].endswith("token-not-covered")
                assert problem["lag_seconds"] >= 3
                assert "Postgres" in problem["fallback"]
                assert int(response.headers["retry-after"]) >= 1
            assert time.perf_counter() - began < 0.25, "everybody waits for a server that is known to be away"
            assert metric((await get("/metrics")).text, "read_api_fallbacks_refused_total") == 2
            proxy.come()
            await until_it_answers(get)
            proxy.go()
            refusal(await get(PATH, headers=headers), 503)
            proxy.come()
            await until_it_answers(get)

    asyncio.run(check())


def test_a_postgres_that_hangs_costs_no_more_than_its_time_out(
    place: Place, postgres: Postgres, proxy: Proxy, token: str
) -> None:
    place.cover(USER_PROFILE, 1, age=3)
    headers = {"Consistency-Token": token} | AT_ONCE

    async def check() -> None:
        proxy.come()
        async with serving(behind(place, postgres, proxy.port), READ_MODELS) as get:
            from_postgres(await get(PATH, headers=headers))
            proxy.mute(later=True)
            began = time.perf_counter()
            problem = refusal(await get(PATH, headers=headers), 503)
            assert time.perf_counter() - began < 4, "it was asked to cancel what it does not answer"
            assert problem["lag_seconds"] >= 3
            began = time.perf_counter()
            assert "a moment ago" in refusal(await get(PATH, headers=headers), 503)["fallback"]
            assert time.perf_counter() - began < 0.25

    asyncio.run(check())


def test_cassandra_away_is_answered_by_postgres(place: Place, postgres: Postgres, token: str) -> None:
    nowhere = place.settings.cassandra.model_copy(update={"port": 1, "contact_points": ("127.0.0.1",)})
    settings = behind(place, postgres).model_copy(update={"cassandra": nowhere})

    async def check() -> None:
        application = Application(settings, READ_MODELS)
        await application.service.start()
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = from_postgres(await client.get(PATH, headers={"Consistency-Token": token}))
            assert [row["name"] for row in body["rows"]] == ["Ada"]
            refusal(await client.get(PATH), 503)
        await application.service.stop()

    asyncio.run(check())


def test_never_more_statements_than_connections_and_each_has_an_end(
    place: Place, postgres: Postgres, database: str, token: str
) -> None:
    """A lock that nobody gives back stands for a Postgres that is too busy."""
    headers = {"Consistency-Token": token} | AT_ONCE
    count = "select count(*) from pg_stat_activity where application_name = 'lockstep-read-api' and datname = current_database()"

    async def check() -> None:
        async with serving(behind(place, postgres, fallback_timeout_ms=700), READ_MODELS) as get:
            with psycopg.connect(database) as locking, psycopg.connect(database, autocommit=True) as looking:
                locking.execute("lock table addresses in access exclusive mode")
                began = time.perf_counter()
                asked = [asyncio.create_task(get(PATH, headers=headers)) for _ in range(30)]
                most = 0
                while not all(task.done() for task in asked):
                    row = looking.execute(count).fetchone()
                    most = max(most, row[0] if row else 0)
                    await asyncio.sleep(0.02)
                assert most == 2
                problems = [refusal(task.result(), 503)["fallback"] for task in asked]
                assert time.perf_counter() - began < 3
                assert len([problem for problem in problems if "as many reads as allowed" in problem]) >= 30 - 2 - 8
                assert any("did not answer within 0.7 s" in problem for problem in problems)
                locking.rollback()
            deadline = time.monotonic() + 10
            while (response := await get(PATH, headers=headers)).status_code != 200:
                assert time.monotonic() < deadline, response.text
                await asyncio.sleep(0.05)  # the deadline is above; the fallback rests for a moment

    asyncio.run(check())


def test_a_position_that_postgres_never_wrote_is_refused(place: Place, postgres: Postgres, token: str) -> None:
    future = str(Lsn(Lsn.parse(token) + (1 << 40)))

    async def check() -> None:
        async with serving(behind(place, postgres), READ_MODELS) as get:
            problem = refusal(await get(PATH, headers={"Consistency-Token": future} | AT_ONCE), 503)
            assert "has not written" in problem["fallback"]
            from_postgres(await get(PATH, headers={"Consistency-Token": token} | AT_ONCE))

    asyncio.run(check())


def test_a_reader_without_rights_is_a_503(place: Place, postgres: Postgres, database: str, token: str) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("revoke select on addresses from lockstep_reader")

    async def check() -> None:
        async with serving(behind(place, postgres), READ_MODELS) as get:
            problem = refusal(await get(PATH, headers={"Consistency-Token": token} | AT_ONCE), 503)
            assert "log says why" in problem["fallback"]
            assert "addresses" not in str(problem)

    asyncio.run(check())
