"""The demonstration's own connections, and the wait until the read models cover a log position.

It connects as the command API's role to load rows in bulk and as the reader to run the SQL; with keys in the settings it
signs a token of its own for the APIs. Nothing here may change what the project's processes do. Driver errors become DemoError in `translated`, once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import psycopg
from cassandra import DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, NoHostAvailable, Session
from cassandra.query import tuple_factory

from command_api.lsn import Lsn
from command_api.process.access.mint import mint
from command_api.process.settings import Auth, Settings
from deploy.local.errors import StackError
from projector.cassandra.errors import CassandraError
from projector.cassandra.progress import read_positions
from projector.cassandra.session import close, connect

TUPLES = "demo"  # an execution profile: rows as plain tuples
_POLL_SECONDS = 0.01
_SCOPES = "read:*:any command:*:any"
_TOKEN_S = 3_600  # longer than any demonstration


class DemoError(StackError):
    """The demonstration can't go on, or has seen something that must not happen."""


class Servers:
    """Open connections. postgres: the reader's, in autocommit, under TimeZone=UTC. authorization: headers for both APIs."""

    def __init__(self, settings: Settings, postgres: psycopg.Connection, cassandra: Session) -> None:
        self.settings = settings
        self.postgres = postgres
        self.cassandra = cassandra
        own = settings.command_api
        self.command_api = f"http://{own.host}:{own.port}"
        self.read_api = f"http://{settings.read_api.host}:{settings.read_api.port}"
        self.authorization = _authorization(settings.auth)

    def log_position(self) -> Lsn:
        """What has been committed and flushed until now."""
        row = self.postgres.execute("select pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        return Lsn.parse(row[0])

    def covered(self, read_models: Iterable[str]) -> Lsn:
        """The position that every one of these read models covers; 0 when one has none yet."""
        found = read_positions(
            self.cassandra, self.settings.cassandra.keyspace, self.settings.projector.projection, shard=0
        )
        return Lsn(min(found[name].lsn if name in found else 0 for name in read_models))

    def wait_until_covered(self, read_models: Iterable[str], position: Lsn, deadline_s: float) -> float:
        """Seconds until every read model covers `position`; raises DemoError after `deadline_s`."""
        names, began = tuple(read_models), time.monotonic()
        while (covered := self.covered(names)) < position:
            if time.monotonic() - began > deadline_s:
                raise DemoError(
                    f"the read models cover {covered}, not {position}, after {deadline_s:.0f} s",
                    hint="look at the logs of relay and projector in the stack's folder, and at their /metrics",
                )
            time.sleep(_POLL_SECONDS)  # the deadline is above; Cassandra tells nobody that a row has changed
        return time.monotonic() - began


def _authorization(auth: Auth) -> dict[str, str]:
    if not auth.hs256_secrets:
        return {}
    return {"Authorization": f"Bearer {mint(auth, subject='demonstration', scopes=_SCOPES, seconds=_TOKEN_S)}"}


@contextmanager
def opened(settings: Settings) -> Iterator[Servers]:
    """Connections for the length of a demonstration."""
    with ExitStack() as stack:
        reader = settings.postgres.reader.get_secret_value()
        postgres = stack.enter_context(psycopg.connect(reader, autocommit=True))
        postgres.execute("set timezone = 'UTC'")
        session = connect(settings.cassandra)
        stack.callback(close, session)
        profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
        session.cluster.add_execution_profile(TUPLES, profile)
        yield Servers(settings, postgres, session)


@contextmanager
def translated() -> Iterator[None]:
    """Clients' errors as DemoError, their cause kept."""
    try:
        yield
    except httpx.HTTPError as error:
        raise DemoError(
            f"an API does not answer: {error!r}", hint="look at command-api's and read-api's logs"
        ) from error
    except psycopg.Error as error:
        raise DemoError(f"Postgres: {error}", hint="look at its log in the stack's folder") from error
    except (DriverException, NoHostAvailable, CassandraError) as error:
        raise DemoError(f"Cassandra: {error}", hint="look at its log in the stack's folder") from error
