"""The ``read-api`` command: serve the routes, list them, print their OpenAPI document."""

from __future__ import annotations

import json
import resource
import socket
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from command_api.process.access.errors import KeysError
from command_api.process.access.exposure import check_exposure, say_open
from command_api.process.collection import collect_seldom
from command_api.process.logging import configure_logging, get_logger
from command_api.process.server import StoppableServer, configured
from command_api.process.settings import Settings
from read_api import openapi
from read_api.app import ReadApi
from read_api.declared import ReadModelsNotFoundError, load_read_models, routes_of
from read_api.request import Route, RouteConflictError

_FILES = 1_024  # besides streams

app = typer.Typer(
    name="read-api",
    help="One typed HTTP route a read model. Settings: LOCKSTEP_READ_API__…, LOCKSTEP_CASSANDRA__…, LOCKSTEP_FILE.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Models = Annotated[
    str | None, typer.Option("--read-models", help="package:ATTRIBUTE of the read models, over the setting.")
]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, over the setting.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, over the setting; 0 takes a free one.")] = None,
    read_models: Models = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests under way.

    Example: read-api serve --port 8081
    """
    configure_logging()
    settings = _settings(read_models)
    address = host if host is not None else settings.read_api.host
    try:
        open_ = check_exposure(settings.auth, address, "LOCKSTEP_READ_API__HOST")
        application = ReadApi(settings, load_read_models(settings.read_api.read_models))
    except KeysError as error:
        get_logger(__name__).error(str(error))
        raise typer.Exit(1) from error
    except (ReadModelsNotFoundError, RouteConflictError) as error:
        raise typer.BadParameter(str(error)) from error
    config = configured(application, settings, host=address, port=port if port is not None else settings.read_api.port)
    if open_:
        say_open(address)
    server, store = _Server(config, application), application.service.store
    allow_files(settings.read_api.max_streams)

    def leave_refused() -> None:
        server.should_exit = True

    store.on_refusal = leave_refused
    collect_seldom()
    server.run()
    if store.refusal:
        get_logger(__name__).error(store.refusal)
        raise typer.Exit(1)
    if not server.started:
        raise typer.Exit(3)


@app.command()
def routes(read_models: Models = None) -> None:
    """Print every route with its query parameters.

    Example: read-api routes
    """
    for route in _routes(_settings(read_models)):
        typer.echo(f"GET {route.template}")
        typer.echo("    " + " ".join(route.parameters))


@app.command(name="openapi")
def print_openapi(read_models: Models = None) -> None:
    """Print the OpenAPI document of the routes as JSON.

    Example: read-api openapi > openapi.json
    """
    typer.echo(json.dumps(openapi.document(_routes(_settings(read_models))), indent=2))


class _Server(StoppableServer):
    """Streams have no end of their own: they are ended before what is under way is waited for."""

    def __init__(self, config: uvicorn.Config, application: ReadApi) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.close_streams()
        await super().shutdown(sockets)


def allow_files(streams: int) -> None:
    """Raise the process's limit of open files, as far as it may be, to what so many streams need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + _FILES if hard == resource.RLIM_INFINITY else min(hard, streams + _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _settings(read_models: str | None) -> Settings:
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        typer.echo(f"read-api: {error}", err=True)
        raise typer.Exit(1) from error
    if read_models is None:
        return settings
    return settings.model_copy(update={"read_api": settings.read_api.model_copy(update={"read_models": read_models})})


def _routes(settings: Settings) -> list[Route]:
    try:
        return list(routes_of(settings, load_read_models(settings.read_api.read_models)).values())
    except (ReadModelsNotFoundError, RouteConflictError) as error:
        raise typer.BadParameter(str(error)) from error


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
