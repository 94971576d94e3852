"""The page's paths without a browser: files and their headers, who gets which data, a comparison without Postgres."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from command_api.process.access.mint import mint
from command_api.process.settings import Auth, Settings
from projections import ORDERS_BY_USER, USER_PROFILE
from read_api.page.comparison import MOST_ROWS
from tests.integration.read_api.stand import BY_TEXT, ONE, Get, Place, refusal, serving

STATIC = Path(__file__).parents[3] / "read_api/page/static"


def served(settings: Settings, *paths: str, **headers: str) -> list[httpx.Response]:
    """The replies to GETs, one after the other."""

    async def ask() -> list[httpx.Response]:
        async with serving(settings) as get:
            return [await get(path, headers=headers) for path in paths]

    return asyncio.run(ask())


def test_the_page_loads_nothing_from_elsewhere(place: Place) -> None:
    files = sorted(path.name for path in STATIC.iterdir())
    index, *replies = served(place.settings, "/", *(f"/page/{name}" for name in files))
    for reply in (index, *replies):
        assert reply.status_code == 200
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "*" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        outside = set(
            re.findall(r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"^\s*//.*$", "", reply.text, flags=re.MULTILINE))
        )
        assert outside <= {"http://www.w3.org"}, "the name of SVG is no address"
    linked = set(re.findall(r'(?:src|href)="page/([^"]+)"', index.text)) | set(
        re.findall(r'from "\./([^"]+)"', "".join(reply.text for reply in replies))
    )
    assert linked == set(files) - {"index.html"}, "each file is used, and each that is used is there"
    again = served(
        place.settings, "/page/page.css", **{"If-None-Match": replies[files.index("page.css")].headers["etag"]}
    )
    assert again[0].status_code == 304
    assert again[0].content == b""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/page/../app.py", 404),
        ("/page/nothing.js", 404),
        ("/page/data/nothing", 404),
        ("/page/data/overview?since=1", 422),
        ("/page/data/overview?after=-1", 422),
        ("/page/data/overview?access_token=x", 400),
        ("/page/data/keys/nothing", 404),
        ("/page/data/comparison/nothing/x", 404),
        ("/page/data/comparison/one/a/b", 404),
        ("/page/data/comparison/orders_by_user/nobody", 422),
        ("/page/data/comparison/one/a?limit=0", 422),
        ("/docs", 404),
    ],
)
def test_what_is_not_there_is_a_problem(place: Place, path: str, status: int) -> None:
    refusal(served(place.settings, path)[0], status)


def test_a_comparison_shows_each_side_or_its_problem(place: Place) -> None:
    place.insert(ONE, [("a/b", 1)])
    place.cover(ONE, 0x20)
    found = served(place.settings, "/page/data/comparison/one/a%2Fb?limit=1000")[0].json()
    assert found["limit"] == MOST_ROWS
    assert found["equal"] is None
    assert found["cassandra"]["rows"] == [{"t": "a/b", "b": 1}]
    assert found["cassandra"]["covered_lsn"] == "0/20"
    assert found["cassandra"]["seconds"] > 0
    assert found["postgres"]["problem"]["detail"] == "this process never asks Postgres"
    assert "FROM all_values" in found["postgres"]["sql"]


def test_keys_are_those_that_are_there(place: Place) -> None:
    place.insert(ONE, [(f"key {n}", n) for n in range(20)])
    none, some = served(place.settings, "/page/data/keys/by_text", "/page/data/keys/one")
    assert none.json() == {"keys": []}
    keys: list[list[Any]] = some.json()["keys"]
    assert len({key for (key,) in keys}) == 8
    assert all(key in {f"key {n}" for n in range(20)} for (key,) in keys)


def test_scopes_open_what_they_are_for(place: Place) -> None:
    auth = Auth(hs256_secrets={"k": "s" * 40})  # type: ignore[dict-item]
    settings = place.settings.model_copy(update={"auth": auth})
    own, other = UUID(int=1), UUID(int=2)
    name = USER_PROFILE.name
    assert USER_PROFILE.owner == "user_id"
    paths = {
        "figures": "/page/data/overview",
        "models": "/page/data/models",
        "public": f"/page/data/comparison/{ORDERS_BY_USER.name if ORDERS_BY_USER.owner is None else ONE.name}/{own}",
        "own": f"/page/data/comparison/{name}/{own}",
        "other": f"/page/data/comparison/{name}/{other}",
        "keys": f"/page/data/keys/{name}",
    }

    async def opened(get: Get, scopes: str) -> set[str]:
        token = mint(auth, subject=str(own), scopes=scopes, seconds=60)
        replies = {what: await get(path, headers={"Authorization": f"Bearer {token}"}) for what, path in paths.items()}
        assert {reply.status_code for reply in replies.values()} <= {200, 403}
        return {what for what, reply in replies.items() if reply.status_code == 200}

    async def check() -> None:
        async with serving(settings) as get:
            assert await opened(get, "read:*") == {"models"}
            assert await opened(get, "metrics") == {"figures", "models"}
            assert await opened(get, "metrics read:*") == {"figures", "models", "public", "own"}
            assert await opened(get, "metrics read:*:any") == set(paths)
            for path in paths.values():
                refusal(await get(path), 401)
            assert (await get("/")).status_code == 200

    asyncio.run(check())


def test_a_model_says_how_its_key_is_written(place: Place) -> None:
    models = {one["name"]: one for one in served(place.settings, "/page/data/models")[0].json()["models"]}
    assert [part["name"] for part in models[BY_TEXT.name]["path"]] == ["t", "n", "d"]
    assert models["messages_by_channel"]["path"] == [
        {"name": "channel_id", "schema": {"type": "string", "format": "uuid"}}
    ], "a time bucket is not asked for"
