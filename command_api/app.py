"""The write side over HTTP: a route for each command, and each reply with its consistency token.

    request ─▶ observe ─▶ intake ─▶ route: validated command ─▶ execute ─▶ commands/<domain> ─▶ token ─▶ reply

A route only names its command, what may be refused, and its status; `_Call` carries what the headers ask for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic.json_schema import models_json_schema

from command_api import idempotency, problems, replies
from command_api.commands import catalogue, orders, people
from command_api.commands.fields import Command
from command_api.database import Database
from command_api.errors import BadRequestError
from command_api.execute import Executor, Work
from command_api.idempotency import Key
from command_api.intake import Intake
from command_api.observe import Metrics, Observe
from command_api.preconditions import IfMatch, parse
from command_api.process.settings import Settings

_TOKEN_HEADER = "Consistency-Token"  # noqa: S105  a header's name


class _Call:
    """One request's headers, and the way to carry out its command."""

    def __init__(self, request: Request, key: str | None, if_match: str | None) -> None:
        self._request = request
        self._key = idempotency.parse_key(key)
        self._if_match = if_match
        self.expected: IfMatch = parse(if_match)

    async def run(self, work: Work, command: Command | None = None) -> Response:
        """Carry out `work`, made of `command`, and reply."""
        executor: Executor = self._request.app.state.executor
        metrics: Metrics = self._request.app.state.metrics
        reply = await executor.run(work, self._keyed(command))
        if reply.repeated:
            metrics.repeated.inc()
        stored, token = reply.stored, str(reply.token)
        # The stored body is an object with members; the token joins at its end, so a repeated reply has the same bytes.
        body = stored.body[:-1] + b',"consistency_token":"' + token.encode() + b'"}'
        media_type = "application/json" if stored.status < 400 else problems.MEDIA_TYPE
        return Response(body, stored.status, {**stored.headers, _TOKEN_HEADER: token}, media_type)

    def _keyed(self, command: Command | None) -> Key | None:
        if self._key is None:
            return None
        body = b"" if command is None else command.model_dump_json().encode()
        parts = (self._request.method, self._request.url.path, self._if_match or "")
        return Key(text=self._key, fingerprint=idempotency.fingerprint(*(part.encode() for part in parts), body))


_KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Names this command, 1 to 255 printable ASCII characters: repeating the request with the same key "
        "returns the first reply and writes nothing.",
    ),
]
_IfMatchHeader = Annotated[
    str | None,
    Header(alias="If-Match", description="The ETag of the version that the command may act on.", examples=['"3"']),
]


def _once(request: Request, name: str) -> None:
    if len(request.headers.getlist(name)) > 1:
        raise BadRequestError(f"there are several {name} headers", hint="send one")


async def _versioned(request: Request, key: _KeyHeader = None, if_match: _IfMatchHeader = None) -> _Call:
    _once(request, "Idempotency-Key")
    # Several lines of a list header are one list (RFC 9110, section 5.3).
    lines = request.headers.getlist("If-Match")
    return _Call(request, key, ", ".join(lines) if lines else None)


async def _unversioned(request: Request, key: _KeyHeader = None) -> _Call:
    _once(request, "Idempotency-Key")
    if "If-Match" in request.headers:
        raise BadRequestError("what this command makes or removes has no version", hint="leave If-Match out")
    return _Call(request, key, None)


Versioned = Annotated[_Call, Depends(_versioned)]
Unversioned = Annotated[_Call, Depends(_unversioned)]

router = APIRouter()


def _made(*refusals: int, versioned: bool = True) -> dict[str, Any]:
    return {
        "status_code": 201,
        "responses": replies.documented(201, versioned=versioned)
        | problems.documented(400, *refusals, 413, 415, 422, 500, 503),
    }


def _done(*refusals: int, versioned: bool = True) -> dict[str, Any]:
    return {
        "responses": replies.documented(200, versioned=versioned)
        | problems.documented(400, 404, *refusals, 413, 415, 422, 500, 503)
    }


@router.post("/users", response_model=replies.User, tags=["users"], **_made(409))
async def register_user(call: Unversioned, command: people.RegisterUser) -> Response:
    """Register a user."""
    return await call.run(partial(people.register_user, command=command), command)


@router.put("/users/{user_id}/name", response_model=replies.User, tags=["users"], **_done(412))
async def rename_user(call: Versioned, user_id: UUID, command: people.RenameUser) -> Response:
    """Rename a user."""
    work = partial(people.rename_user, user_id=user_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.put("/users/{user_id}/avatar", response_model=replies.User, tags=["users"], **_done(412))
async def change_avatar(call: Versioned, user_id: UUID, command: people.ChangeAvatar) -> Response:
    """Change a user's avatar, or remove it with null."""
    work = partial(people.change_avatar, user_id=user_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.delete(
    "/users/{user_id}", response_model=replies.UserDeleted, tags=["users"], **_done(409, 412, versioned=False)
)
async def delete_user(call: Versioned, user_id: UUID) -> Response:
    """Delete a user without orders, and the addresses."""
    return await call.run(partial(people.delete_user, user_id=user_id, expected=call.expected))


@router.post(
    "/users/{user_id}/addresses", response_model=replies.Address, tags=["users"], **_made(404, 409, versioned=False)
)
async def add_address(call: Unversioned, user_id: UUID, command: people.AddAddress) -> Response:
    """Add an address to a user."""
    return await call.run(partial(people.add_address, user_id=user_id, command=command), command)


@router.delete(
    "/users/{user_id}/addresses/{address_id}",
    response_model=replies.AddressDeleted,
    tags=["users"],
    **_done(versioned=False),
)
async def remove_address(call: Unversioned, user_id: UUID, address_id: UUID) -> Response:
    """Remove an address of a user."""
    return await call.run(partial(people.remove_address, user_id=user_id, address_id=address_id))


@router.post("/products", response_model=replies.Product, tags=["products"], **_made(409))
async def create_product(call: Unversioned, command: catalogue.CreateProduct) -> Response:
    """Create a product."""
    return await call.run(partial(catalogue.create_product, command=command), command)


@router.put("/products/{product_id}/price", response_model=replies.Product, tags=["products"], **_done(412))
async def change_price(call: Versioned, product_id: UUID, command: catalogue.ChangePrice) -> Response:
    """Change a product's price; orders already placed keep theirs."""
    work = partial(catalogue.change_price, product_id=product_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.post("/orders", response_model=replies.OrderPlaced, tags=["orders"], **_made(409))
async def place_order(call: Unversioned, command: orders.PlaceOrder) -> Response:
    """Place an order; each item takes its product's price of now."""
    return await call.run(partial(orders.place_order, command=command), command)


@router.put("/orders/{order_id}/status", response_model=replies.OrderMoved, tags=["orders"], **_done(409, 412))
async def move_order(call: Versioned, order_id: UUID, command: orders.MoveOrder) -> Response:
    """Move an order to its next status: placed, paid, shipped, delivered; or cancelled before it is shipped."""
    work = partial(orders.move_order, order_id=order_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.post("/orders/{order_id}/cancel", response_model=replies.OrderMoved, tags=["orders"], **_done(409, 412))
async def cancel_order(call: Versioned, order_id: UUID) -> Response:
    """Cancel an order that is not yet shipped."""
    return await call.run(partial(orders.cancel_order, order_id=order_id, expected=call.expected))


@router.delete(
    "/orders/{order_id}", response_model=replies.OrderDeleted, tags=["orders"], **_done(412, versioned=False)
)
async def delete_order(call: Versioned, order_id: UUID) -> Response:
    """Delete an order in whatever status, and its items."""
    return await call.run(partial(orders.delete_order, order_id=order_id, expected=call.expected))


@router.get("/healthz", tags=["operations"])
async def healthz() -> dict[str, str]:
    """The process answers; it says nothing of the database."""
    return {"status": "ok"}


@router.get("/readyz", tags=["operations"], responses=problems.documented(503))
async def readyz(request: Request) -> dict[str, str]:
    """The database can be used now."""
    database: Database = request.app.state.database
    await database.check_ready()
    return {"status": "ready"}


@router.get("/metrics", tags=["operations"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Prometheus's text format."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects when it starts, in the background, so it may start before its database."""
    own = settings.command_api
    database = Database(
        settings.postgres.command_api.get_secret_value(), pool_size=own.pool_size, timeout_ms=own.timeout_ms
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await database.open()
        try:
            yield
        finally:
            await database.close()

    app = FastAPI(
        title="Lockstep command API",
        version="1",
        description="The write side. Every reply to a command carries a consistency token for the read side.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.database = database
    app.state.metrics = Metrics(database.statistics)
    app.state.executor = Executor(
        database, lifetime=timedelta(hours=own.idempotency_hours), deadline_s=2 * own.timeout_ms / 1000
    )
    app.include_router(router)
    problems.install(app)
    app.add_middleware(Intake, max_body_bytes=own.max_body_bytes)
    app.add_middleware(Observe, metrics=app.state.metrics)  # the last added is the outermost
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, definitions = models_json_schema(
            [(problems.Problem, "serialization")], ref_template="#/components/schemas/{model}"
        )
        schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        app.openapi_schema = schema
    return app.openapi_schema
