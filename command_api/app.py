"""The write side over HTTP: a route for each command, and each reply with its consistency token.

    request ─▶ observe ─▶ entrance ─▶ intake ─▶ route: validated command ─▶ execute ─▶ commands/<domain> ─▶ token ─▶ reply

The commands' routes are in `command_api.routes`; here are those of operations, and what all routes stand in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic.json_schema import models_json_schema

from command_api import problems
from command_api.coverage import Coverage
from command_api.database import Database
from command_api.entrance import Entrance
from command_api.execute import Executor
from command_api.intake import Intake
from command_api.observe import Metrics, Observe
from command_api.process.access.caller import METRICS, Kind
from command_api.process.access.gate import PUBLIC, Gate
from command_api.process.access.keys import keys_of
from command_api.process.settings import Settings
from command_api.process.tracing import Tracing
from command_api.routes import ROUTERS

router = APIRouter()
_METRICS = "/metrics"


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


@router.get(
    _METRICS,
    tags=["operations"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problems.documented(401, 403)},
)
async def metrics(request: Request) -> Response:
    """Prometheus's text format."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects when it starts, in the background, so it may start before its database.

    Raises KeysError.
    """
    own = settings.command_api
    database = Database(
        settings.postgres.command_api.get_secret_value(), pool_size=own.pool_size, timeout_ms=own.timeout_ms
    )

    coverage = Coverage(own.read_api, own.covered_wait_ms / 1000) if own.read_api else None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await database.open()
        try:
            yield
        finally:
            await database.close()
            if coverage is not None:
                await coverage.close()

    app = FastAPI(
        title="Lockstep command API",
        version="1",
        description="The write side. Every reply to a command carries a consistency token for the read side.",
        lifespan=lifespan,
        docs_url=None,  # it would load its scripts from another host; the document is at /openapi.json
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.database = database
    app.state.coverage = coverage
    app.state.metrics = Metrics(database.statistics)
    app.state.tracing = Tracing("command-api")
    app.state.executor = Executor(
        database, lifetime=timedelta(hours=own.idempotency_hours), deadline_s=2 * own.timeout_ms / 1000
    )
    for each in (*ROUTERS, router):
        app.include_router(each)
    problems.install(app)
    app.add_middleware(Intake, max_body_bytes=own.max_body_bytes, timeout_s=settings.http.body_timeout_ms / 1000)
    app.add_middleware(Entrance, gate=Gate(keys_of(settings.auth)), max_body_bytes=own.max_body_bytes)
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
        _secure(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _secure(schema: dict[str, Any]) -> None:
    """The names beside a bearer token are the scopes that it needs; that of everybody's commands is not among them."""
    schema["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            scope = METRICS if path == _METRICS else f"{Kind.COMMAND}:{operation['tags'][0]}"
            operation["security"] = [] if path in PUBLIC else [{"bearer": [scope]}]
