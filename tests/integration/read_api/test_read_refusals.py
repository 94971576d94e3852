"""What the read API refuses, and how it says so."""

from __future__ import annotations

import asyncio
from uuid import UUID

import httpx
from sqlalchemy import (
    select,
)

from projections import READ_MODELS
from projections.cassandra_table import POSITIONS, cassandra_table
from projections.read_model import ReadModel
from read_api.app import ReadApi as Application
from tests.integration.read_api.stand import MODELS, ONE, VALUES, Place, refusal, serving


def test_every_route_refuses_what_it_does_not_know(place: Place) -> None:
    good = {"uuid": str(UUID(int=1)), "text": "a", "date": "2024-01-01", "bigint": "1", "decimal": "1.00"}

    async def check() -> None:
        async with serving(place.settings) as get:
            models = {model.name: cassandra_table(model, "") for model in (*MODELS, *READ_MODELS)}
            assert set((await get("/read")).json()["routes"]) == set(models)
            for name, table in models.items():
                path_columns = [column for column in table.partition_key if column != "bucket"]  # found, not given
                keys = [good[table.columns[column].cql] for column in path_columns]
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
                for index, column in enumerate(path_columns):
                    if table.columns[column].cql != "text":
                        wrong = [*keys[:index], "~", *keys[index + 1 :]]
                        assert refusal(await get(f"/read/{name}/" + "/".join(wrong)), 422)["field"] == column
                for clustering in table.clustering[1:]:
                    assert refusal(await get(path, params={clustering.column: "1"}), 400)["field"] == clustering.column
            assert refusal(await get("/read/nope/1"), 404)["read_models"] == list(models)
            refusal(await get("/elsewhere"), 404)
            refusal(await get("/freshness/"), 404)
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
