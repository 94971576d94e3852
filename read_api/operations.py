"""The routes beside the reads: the list of routes, their OpenAPI document, health, readiness, coverage, metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from read_api import metrics, openapi
from read_api.coverage import coverage_router
from read_api.problem import (
    CONTENT_TYPE,
    InvalidRequestError,
    ProblemError,
    StoreUnavailableError,
    UnknownRouteError,
    internal_fault,
    not_allowed,
)
from read_api.service import ReadService

_READY_SECONDS = 1.0
_COVERED_SECONDS = 60.0  # the longest that whoever asks whether a token is covered may prefer to wait


class _Operations(FastAPI):
    """FastAPI, with the document of the generated routes in place of its own."""

    document: dict[str, Any] = {}

    def openapi(self) -> dict[str, Any]:
        return self.document


def operations_app(service: ReadService) -> _Operations:
    """The application; its lifespan is the service's."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = _Operations(title=openapi.TITLE, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    app.document = openapi.document(service.routes.values())
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(ProblemError, _refused)
    app.add_exception_handler(Exception, _refused)

    app.include_router(coverage_router(service.declared, service.freshness, service.wait_seconds, _COVERED_SECONDS))

    @app.get("/read")
    async def routes() -> Response:
        """The routes of all read models."""
        return JSONResponse({"routes": {name: route.template for name, route in service.routes.items()}})

    @app.get("/healthz")
    async def healthz() -> Response:
        """The process runs."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """The store answers and the positions can be read."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await service.store.connected()
                positions = await service.freshness.positions()
        except TimeoutError:
            raise StoreUnavailableError(
                f"Cassandra did not answer within {_READY_SECONDS:g} s",
                hint="repeat the request after Retry-After seconds",
                headers={"Retry-After": "1"},
            ) from None
        return JSONResponse(
            {"status": "ready", "covered_lsn": {name: str(position.lsn) for name, position in positions.items()}}
        )

    @app.get("/metrics")
    async def exposition() -> Response:
        """Prometheus metrics; the positions as of now, or the last known while Cassandra is away."""
        with contextlib.suppress(ProblemError, TimeoutError):
            async with asyncio.timeout(_READY_SECONDS):
                positions = await service.freshness.positions()
            service.metrics.covers({name: positions[name] for name in service.routes if name in positions})
        return Response(service.metrics.exposition(), media_type=metrics.CONTENT_TYPE)

    return app


async def _refused(request: Request, error: Exception) -> Response:
    problem = _problem(request, error)
    return Response(problem.body(), problem.status, problem.headers, CONTENT_TYPE)


def _problem(request: Request, error: Exception) -> ProblemError:
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return UnknownRouteError(
                f"there is nothing at {request.url.path[:200]!r}",
                hint="GET /read lists the routes, /openapi.json describes them",
            )
        if error.status_code == 405:
            return not_allowed(request.method, ("GET",))
        return InvalidRequestError(error.detail, hint="see /openapi.json")
    return internal_fault()
