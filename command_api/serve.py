"""The HTTP server's process: its login tried, bound, announced once it answers, drained on SIGTERM.

A database that refuses the login ends it at the start, with the setting's name; one that is away is waited for, but not
for ever. Once it serves, a database that goes away is a 503 until it is back.
"""

from __future__ import annotations

import socket

from command_api.app import create_app
from command_api.process.access.exposure import check_exposure, say_open
from command_api.process.logging import get_logger
from command_api.process.postgres_login import logged_in
from command_api.process.server import StoppableServer, configured
from command_api.process.settings import Settings

_log = get_logger(__name__)
_DATABASE_S = 60  # what the database may take to come up; then a supervisor should see that nothing works


class BindError(Exception):
    """The address can't be listened on."""


class Server(StoppableServer):
    """Says where it listens, also when the port was the system's choice (0).

    open: whether it lets everybody in, which it then says too.
    """

    open = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            _log.info("listening", url=f"http://{shown}:{port}", host=host, port=port)
            if self.open:
                say_open(host)


def prepare(settings: Settings) -> tuple[Server, socket.socket]:
    """A server that is not running yet, and the socket for its `run`, bound already. Raises BindError, KeysError."""
    own = settings.command_api
    open_ = check_exposure(settings.auth, own.host, "LOCKSTEP_COMMAND_API__HOST")
    server = Server(configured(create_app(settings), settings, log_level="warning"))
    server.open = open_
    return server, _bound(own.host, own.port)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then answer what has been received and return. Raises BindError, KeysError, LoginError."""
    server, listener = prepare(settings)
    with listener:
        logged_in(
            settings.postgres.command_api.get_secret_value(),
            setting="LOCKSTEP_POSTGRES__COMMAND_API",
            seconds=_DATABASE_S,
            waiting=lambda why: _log.warning("waiting for Postgres", seconds=_DATABASE_S, error=why),
        )
        server.run(sockets=[listener])
    _log.info("stopped")


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol said: asyncio sets TCP_NODELAY on a connection only if its socket knows that it is TCP, and
        # without it a reply's second packet waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise BindError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; stop what uses it, or set "
            "LOCKSTEP_COMMAND_API__PORT to another port (0 takes a free one)"
        ) from error
    return listener
