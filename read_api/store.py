"""Cassandra for an asyncio process: prepared statements at LOCAL_QUORUM, driver errors as problems.

Promised: `read` never blocks the event loop; a store that is away is a StoreUnavailableError at once or after the
request time-out, and reads work again by themselves when it is back, also when it was away at start.
A login or certificate that is refused at start is told to the process, which ends: nothing mends it. Not promised: a
retry of a read that failed; the client has Retry-After.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    ProtocolVersion,
    RequestExecutionException,
    Unauthorized,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.protocol import ProtocolException, ServerError
from cassandra.query import PreparedStatement, tuple_factory

from command_api.process.cassandra_login import TlsFilesError, remedy, tls_context
from command_api.process.logging import get_logger
from command_api.process.settings import Cassandra
from read_api.driver_loop import LoopConnection, connections_on
from read_api.execution import Execution, Rows
from read_api.paging import foreign_page
from read_api.problem import ProblemError, StoreNotSetUpError, StoreUnavailableError
from read_api.protocol import RawRows, raw_columns

REQUEST_SECONDS = 2.0
_RECONNECT_SECONDS = (0.25, 5.0)  # of a cluster that was away at start: first pause, longest pause
_RETRY_AFTER = {"Retry-After": "1"}

_log = get_logger(__name__)


class Store:
    """One session, opened in the background by `start`, closed by `stop`.

    refusal: why Cassandra will never let this process in, or empty; `on_refusal` is called once when it is known.
    """

    def __init__(self, settings: Cassandra) -> None:
        self._settings = settings
        self._session: Session | None = None
        self._execute: Execution  # there when the session is
        self._cluster: Cluster | None = None
        self._opening: asyncio.Task[None] | None = None
        self._prepared: dict[str, asyncio.Future[PreparedStatement]] = {}
        self._warm: tuple[str, ...] = ()
        self._failure = "not connected yet"
        self.refusal = ""
        self.on_refusal: Callable[[], None] = lambda: None

    async def start(self, statements: Iterable[str] = ()) -> None:
        """Begin to connect; returns at once, because a store that is away is a reply (503), not a crash.

        `statements` are prepared on connecting, as far as their tables exist, so that no first read waits for it.
        """
        self._warm = tuple(statements)
        self._opening = asyncio.create_task(self._open())

    async def stop(self) -> None:
        """Close the session and its threads."""
        if self._opening is not None:
            self._opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._opening
        if self._cluster is not None:
            await asyncio.to_thread(self._cluster.shutdown)

    async def connected(self) -> None:
        """Wait for the first session; bounded by the caller."""
        if self._opening is not None:
            await asyncio.shield(self._opening)

    async def read(
        self, cql: str, values: Sequence[Any], *, fetch_size: int | None = None, state: bytes | None = None
    ) -> Rows:
        """One page of a SELECT; raises StoreUnavailableError, StoreNotSetUpError, InvalidPageError."""
        session = self._session
        if session is None:
            raise _unavailable(self._failure)
        try:
            bound = (await self._statement(session, cql)).bind(values)
            bound.fetch_size = session.default_fetch_size if fetch_size is None else fetch_size
            return await self._execute(bound, state)
        except (DriverException, ConnectionException, NoHostAvailable, ProtocolException, ServerError) as error:
            raise _translated(error, paged=state is not None) from error

    async def serialized(self, cql: str, values: Sequence[Any]) -> list[bytes]:
        """The values as a statement sends them; raises as `read`."""
        session = self._session
        if session is None:
            raise _unavailable(self._failure)
        try:
            bound: list[bytes] = (await self._statement(session, cql)).bind(values).values
        except (DriverException, ConnectionException, NoHostAvailable) as error:
            raise _translated(error, paged=False) from error
        return bound

    async def _statement(self, session: Session, cql: str) -> PreparedStatement:
        prepared = self._prepared.get(cql)
        if prepared is None:
            prepared = asyncio.ensure_future(asyncio.to_thread(_prepare, session, cql))
            self._prepared[cql] = prepared
        try:
            # Shielded: one caller that goes away must not take the statement from the others.
            return prepared.result() if prepared.done() else await asyncio.shield(prepared)
        except BaseException:
            if prepared.done() and (prepared.cancelled() or prepared.exception() is not None):
                self._prepared.pop(cql, None)
            raise

    async def _open(self) -> None:
        pause, longest = _RECONNECT_SECONDS
        while True:
            try:
                cluster = _cluster(self._settings, connections_on(asyncio.get_running_loop()))
            except TlsFilesError as error:
                self._refused(str(error))
                return
            try:
                session = await asyncio.to_thread(cluster.connect)
            except (DriverException, NoHostAvailable, ConnectionException, OSError) as error:
                await asyncio.to_thread(cluster.shutdown)
                self._failure = f"no connection to Cassandra: {_summary(error)}"
                if (settings := remedy(error)) is not None:
                    self._refused(f"{self._failure}; check {settings}")
                    return
                _log.warning("cassandra_away", error=self._failure, retry_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(longest, pause * 2)
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.to_thread(cluster.shutdown))
                raise
            else:
                session.client_protocol_handler = RawRows
                self._execute = Execution(session, session.get_execution_profile(EXEC_PROFILE_DEFAULT))
                self._cluster, self._session = cluster, session
                _log.info("cassandra_connected", contact_points=self._settings.contact_points)
                break
        for cql in self._warm:
            with contextlib.suppress(DriverException, NoHostAvailable, ConnectionException):
                await self._statement(session, cql)

    def _refused(self, why: str) -> None:
        self.refusal = self._failure = why
        self.on_refusal()


def _cluster(settings: Cassandra, connections: type[LoopConnection]) -> Cluster:
    credentials = None
    if settings.username is not None:
        password = settings.password.get_secret_value() if settings.password else ""
        credentials = PlainTextAuthProvider(settings.username, password)
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.local_datacenter)),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=REQUEST_SECONDS,
        row_factory=tuple_factory,
    )
    return Cluster(
        settings.contact_points,
        port=settings.port,
        connection_class=connections,
        ssl_context=tls_context(settings),
        auth_provider=credentials,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ExponentialReconnectionPolicy(0.25, 5.0),
        protocol_version=ProtocolVersion.V5,  # said, not negotiated: a server older than 4.0 is refused with its name
        compression=False,  # whatever is installed here: `read_api.segments` reads none
        schema_metadata_enabled=False,
        connect_timeout=5.0,
    )


def _prepare(session: Session, cql: str) -> PreparedStatement:
    """Prepare a SELECT whose uuids and decimals come as the bytes that they are sent as."""
    prepared = session.prepare(cql)
    if prepared.result_metadata:
        prepared.result_metadata = raw_columns(prepared.result_metadata)
    return prepared


def _unavailable(what: str) -> StoreUnavailableError:
    return StoreUnavailableError(what, hint="repeat the request after Retry-After seconds", headers=_RETRY_AFTER)


def _translated(error: Exception, *, paged: bool) -> ProblemError | Exception:
    """The one place where driver errors become the project's; what is no known trouble stays itself."""
    if isinstance(error, InvalidRequest):
        text = str(error)
        if "does not exist" in text or "unconfigured table" in text:
            return StoreNotSetUpError(
                "the read models' tables are not in Cassandra", hint="run `projector setup`", headers=_RETRY_AFTER
            )
        if "Undefined column" in text:
            return StoreNotSetUpError(
                "a table in Cassandra was made for another declaration of this read model",
                hint="run `projector setup`, and serve the declarations that the projector runs",
                headers=_RETRY_AFTER,
            )
        return foreign_page() if paged else error
    if isinstance(error, ProtocolException):
        return foreign_page() if paged else error
    if isinstance(error, NoHostAvailable):
        return _unavailable("no Cassandra node answers")
    if isinstance(error, OperationTimedOut):
        return _unavailable(f"Cassandra did not answer within {REQUEST_SECONDS:g} s")
    if isinstance(error, (AuthenticationFailed, Unauthorized)):
        return _unavailable("Cassandra refuses this server's credentials")
    if isinstance(error, (RequestExecutionException, ConnectionException, ServerError)):
        return _unavailable(f"Cassandra could not answer: {type(error).__name__}")
    return error


def _summary(error: Exception) -> str:
    if isinstance(error, NoHostAvailable):
        return "; ".join(f"{host}: {inner}" for host, inner in error.errors.items()) or str(error)
    return str(error)
