"""Every route of both APIs, from their OpenAPI documents, asked by those who may not: a new route can't be forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.routing import Route as StarletteRoute

from command_api.acting import RULES, InBody, InPath, InRow, Nobodys
from command_api.app import create_app
from command_api.process.access.gate import PUBLIC
from command_api.process.settings import Settings
from projections import READ_MODELS
from read_api.app import ReadApi
from read_api.operations import operations_app
from tests.unit.access.tokens import AUTH, SOMEBODY_ELSE, SUBJECT, bearer, refused, token

SETTINGS = Settings(auth=AUTH)
COMMANDS, READS = create_app(SETTINGS), ReadApi(SETTINGS, READ_MODELS)
METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One operation of a document, with a request of it. scopes: what its security names; None without any."""

    api: Any
    method: str
    template: str
    path: str
    body: Any
    scopes: list[str] | None

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def operations() -> Iterator[Asked]:
    for api, document in ((COMMANDS, COMMANDS.openapi()), (READS, READS._operations.openapi())):
        for template, methods in document["paths"].items():
            for method in (name for name in METHODS if name in methods):
                operation = methods[method]
                values = {p["name"]: _value(p["schema"]) for p in operation.get("parameters", []) if p["in"] == "path"}
                content = operation.get("requestBody", {}).get("content", {}).get("application/json")
                security = operation["security"]
                yield Asked(
                    api=api, method=method.upper(), template=template, path=template.format(**values),
                    body=_body(content["schema"], document) if content else None,
                    scopes=security[0]["bearer"] if security else None,
                )  # fmt: skip


def _value(schema: dict[str, Any], text: str = "a") -> Any:
    kinds = {"uuid": SOMEBODY_ELSE, "uri": "https://a.example/b"}
    if "$ref" in schema or "anyOf" in schema:
        return SOMEBODY_ELSE
    if schema.get("type") in ("integer", "number"):
        return 1
    if "YYYY-MM-DD" in schema.get("description", ""):
        return "2024-03-01"
    return kinds.get(schema.get("format", ""), schema.get("enum", [text])[0])


def _body(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Its ids only: what a caller is judged by stands there, and is judged before the rest is carried out."""
    found = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    examples = {"items": [{"product_id": SOMEBODY_ELSE, "quantity": 1}], "rating": 3, "price": "1.00", "fare": "1.00"}
    examples |= {"status": "paid", "avatar_url": "https://a.example/b"}
    return {
        name: examples.get(name, _value(of)) for name, of in found["properties"].items()
        if name in found.get("required", []) or name.endswith("_id")
    }  # fmt: skip


EVERY = list(operations())
CLOSED = [asked for asked in EVERY if asked.scopes is not None]


def ask(asked: Asked, headers: dict[str, str], query: str = "") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=asked.api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(asked.method, asked.path + query, json=asked.body, headers=headers)

    return asyncio.run(send())


def problem(reply: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert found["type"] == f"urn:lockstep:problem:{kind}"
    assert found["hint"]
    return found


@pytest.mark.parametrize("asked", CLOSED, ids=str)
def test_nobody_is_let_in_without_a_token_that_counts(asked: Asked) -> None:
    for wrong, headers in refused().items():
        reply = ask(asked, headers)
        problem(reply, 401, "unauthenticated")
        assert reply.headers["www-authenticate"].startswith("Bearer realm="), wrong
        assert headers.get("Authorization", "Bearer -").split()[1] not in reply.text
    problem(ask(asked, bearer(token()), f"?access_token={token()}"), 400, "token-in-url")


@pytest.mark.parametrize("asked", [asked for asked in CLOSED if asked.scopes], ids=str)
def test_a_token_without_the_scope_is_let_in_and_no_further(asked: Asked) -> None:
    (scope,) = asked.scopes or ()
    others = "read:another read:another:any command:another command:another:any read command * any"
    reply = ask(asked, bearer(token(others)))
    problem(reply, 403, "forbidden")
    assert 'error="insufficient_scope"' in reply.headers["www-authenticate"]
    assert f'scope="{scope}"' in reply.headers["www-authenticate"]
    # Of the other side, whatever the other one is.
    swapped = "read:*:any" if scope.startswith("command") else "command:*:any"
    problem(ask(asked, bearer(token(swapped))), 403, "forbidden")


def judged_by_request(asked: Asked) -> bool:
    """Whether the request alone says whose it is."""
    if asked.api is READS:
        return any(m.owner and asked.template.startswith(f"/read/{m.name}/") for m in READ_MODELS)
    return asked.template not in PUBLIC | {"/metrics"} and not isinstance(RULES[str(asked)], Nobodys | InRow)


@pytest.mark.parametrize("asked", [asked for asked in CLOSED if judged_by_request(asked)], ids=str)
def test_what_is_somebody_elses_is_refused(asked: Asked) -> None:
    """The requests name SOMEBODY_ELSE: a foreign token."""
    (scope,) = asked.scopes or ()
    for enough in (scope, scope.partition(":")[0] + ":*"):
        reply = ask(asked, bearer(token(enough)))
        problem(reply, 403, "forbidden")
        assert f'scope="{scope}:any"' in reply.headers["www-authenticate"]
    # One's own, and with everybody's scope, it goes on to the store: which is away here.
    own = isinstance(RULES.get(str(asked)), InPath | InBody) or asked.api is READS
    for headers in [bearer(token(f"{scope}:any"))] + [bearer(token(scope, sub=SOMEBODY_ELSE.upper()))] * own:
        assert ask(asked, headers).status_code == 503


def test_each_command_says_whose_it_is() -> None:
    commands = {str(asked) for asked in EVERY if asked.api is COMMANDS and asked.method != "GET"}
    assert commands == set(RULES)


def test_the_documents_hold_every_route_and_only_probes_and_documentation_are_public() -> None:
    described = {(api_of(asked), asked.template) for asked in EVERY}
    for name, application in (("commands", COMMANDS), ("reads", operations_app(READS.service))):
        served = {route.path for route in application.routes if isinstance(route, StarletteRoute)}
        assert {path for path in served if (name, path) not in described} <= PUBLIC
    assert {asked.template for asked in EVERY if asked.scopes is None} == {"/healthz", "/readyz"}
    for document in (COMMANDS.openapi(), READS._operations.openapi()):
        assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
        json.dumps(document)


def api_of(asked: Asked) -> str:
    return "commands" if asked.api is COMMANDS else "reads"


@pytest.mark.parametrize("api", [COMMANDS, READS], ids=["commands", "reads"])
@pytest.mark.parametrize("path", ["/nowhere", "/healthz/", "/HEALTHZ", "/read", "/read/nothing/1", "/readyz/x", "/page/data/overview", "/page/data/models", "/page/data/comparison/order_by_id/1"])  # fmt: skip
def test_what_is_nowhere_needs_a_token_too(api: Any, path: str) -> None:
    asked = Asked(api=api, method="GET", template=path, path=path, body=None, scopes=[])
    problem(ask(asked, {}), 401, "unauthenticated")


@pytest.mark.parametrize("asked", [asked for asked in EVERY if asked.template == "/healthz"], ids=api_of)
def test_probes_need_none(asked: Asked) -> None:
    assert ask(asked, {}).json() == {"status": "ok"}


def test_who_may_read_a_model_of_ones_own_is_told_in_time() -> None:
    # The partition is judged after the URL is read, before any source is asked: garbage is garbage, for everybody.
    asked = Asked(api=READS, method="GET", template="", path="/read/orders_by_user/nonsense", body=None, scopes=[])
    assert ask(asked, bearer(token("read:*"))).status_code == 422
    mine = Asked(api=READS, method="GET", template="", path=f"/read/orders_by_user/{SUBJECT}", body=None, scopes=[])
    assert ask(mine, bearer(token("read:*"))).status_code == 503
    assert ask(mine, bearer(token("read:*", sub="not a uuid"))).status_code == 403


def test_a_read_has_no_body() -> None:
    asked = Asked(api=READS, method="GET", template="", path="/read", body={"a": 1}, scopes=[])
    reply = ask(asked, bearer(token()))
    problem(reply, 413, "too-large")
    assert reply.headers["connection"] == "close"


OWNED = [model.name for model in READ_MODELS if model.owner]


@pytest.mark.parametrize("model", OWNED)
def test_a_partition_is_its_owners_by_whatever_way_it_is_asked_for(model: str) -> None:
    """Read, read to be answered by Postgres, paged, streamed, compared on the page: before any source, all being away here."""
    scope = f"read:{model} metrics"
    for path, more in (
        (f"/read/{model}/{SOMEBODY_ELSE}", {}),
        (f"/read/{model}/{SOMEBODY_ELSE}", {"Consistency-Token": "FF/FF", "Prefer": "wait=0"}),
        (f"/read/{model}/{SOMEBODY_ELSE}?page=AAAA", {}),
        (f"/read/{model}/{SOMEBODY_ELSE.upper()}?limit=1", {}),
        (f"/read/{model}/%30{SOMEBODY_ELSE[1:]}", {}),
        (f"/read/{model}/{SOMEBODY_ELSE}/changes", {"Accept": "text/event-stream"}),
        (f"/page/data/comparison/{model}/{SOMEBODY_ELSE}", {}),
    ):
        asked = Asked(api=READS, method="GET", template=path, path=path, body=None, scopes=[])
        problem(ask(asked, bearer(token(scope)) | more), 403, "forbidden")
        assert ask(asked, bearer(token(scope, sub=SOMEBODY_ELSE)) | more).status_code != 403
