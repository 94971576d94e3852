"""The projector's connection to Cassandra, made of `settings.cassandra`.

The driver runs on libev: its wheel has the extension, and the other reactor that needs no third package, asyncore, is
gone from Python 3.12 on. Naming it here also makes its absence an error at start instead of a slow fallback.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from cassandra import ConsistencyLevel, DriverException, OperationTimedOut, ProtocolVersion
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy

from command_api.process.cassandra_login import TlsFilesError, remedy, tls_context
from command_api.process.logging import get_logger
from command_api.process.settings import Cassandra
from projector.cassandra.connection import Connection
from projector.cassandra.errors import CassandraUnreachableError

_log = get_logger(__name__)
_RETRY_SECONDS = 0.5


def connect(
    settings: Cassandra, *, deadline_s: float = 60.0, stop: threading.Event | None = None, follow_schema: bool = False
) -> Session:
    """A session without a keyspace; close it with `close`.

    follow_schema: keep the keyspaces' metadata, and with it the token ring, as they change. Reading it again after each
    statement was half of what a set-up cost the server.

    Tries again until `deadline_s` seconds have passed or `stop` is set, but not after a refused login or certificate.
    Raises CassandraUnreachableError, its message names the addresses, the last cause and the settings to look at.
    """
    until = time.monotonic() + deadline_s
    while True:
        cluster = _cluster(settings, follow_schema=follow_schema)
        try:
            return cluster.connect()
        except (NoHostAvailable, DriverException, OSError) as error:
            cluster.shutdown()
            refused = remedy(error)
            if (
                refused is not None
                or time.monotonic() + _RETRY_SECONDS >= until
                or (stop is not None and stop.is_set())
            ):
                raise CassandraUnreachableError(_message(settings, error, refused)) from error
            _log.warning("cassandra does not answer yet", addresses=settings.contact_points, cause=str(error))
            (stop or threading.Event()).wait(_RETRY_SECONDS)
        except BaseException:
            cluster.shutdown()
            raise


def close(session: Session) -> None:
    """Close the session's cluster: its connections and threads."""
    session.cluster.shutdown()


def _cluster(settings: Cassandra, *, follow_schema: bool) -> Any:
    try:
        context = tls_context(settings)
    except TlsFilesError as error:
        raise CassandraUnreachableError(str(error)) from error
    policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=settings.local_datacenter))
    profile = ExecutionProfile(policy, consistency_level=ConsistencyLevel.LOCAL_QUORUM, request_timeout=10.0)
    login = None
    if settings.username is not None:
        secret = settings.password.get_secret_value() if settings.password is not None else ""
        login = PlainTextAuthProvider(settings.username, secret)
    cluster = Cluster(
        list(settings.contact_points),
        port=settings.port,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=login,
        ssl_context=context,
        compression=False,
        connection_class=Connection,
        # A node that comes back is used within seconds: the driver's default waits up to ten minutes.
        reconnection_policy=ExponentialReconnectionPolicy(0.2, 2.0, max_attempts=None),
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        connect_timeout=5.0,
        schema_metadata_enabled=follow_schema,
    )
    # Start the negotiation at v5 and let the driver go down from there; its own start is DSE's, two refusals earlier.
    cluster.protocol_version = ProtocolVersion.V5
    return cluster


def _message(settings: Cassandra, error: BaseException, refused: str | None) -> str:
    where = ", ".join(f"{host}:{settings.port}" for host in settings.contact_points)
    causes = getattr(error, "errors", None)
    why = "; ".join(f"{host}: {cause}" for host, cause in causes.items()) if isinstance(causes, dict) else str(error)
    if refused is not None:
        return f"Cassandra at {where} can't be used by this client ({why}): check {refused}"
    if isinstance(error, OperationTimedOut):
        why = "timed out"
    return (
        f"Cassandra at {where} can't be reached ({why or error!r}): is it running, and do cassandra.contact_points,"
        f" port, local_datacenter ({settings.local_datacenter}) and the TLS settings match it?"
    )
