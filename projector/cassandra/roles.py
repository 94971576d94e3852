"""The least-privilege roles in Cassandra: one for each process that connects.

    lockstep_setup      CREATE ON ALL KEYSPACES; owns, by having made it, the keyspace that `projector setup` makes
    lockstep_projector  SELECT and MODIFY on the keyspace: it writes rows and positions, reads positions and verifies
    lockstep_reader     SELECT on the keyspace

Statements may be run again: what is there is kept, passwords become those of the settings, and grants beyond these are
taken back, so that a role that was once given more has no more than it needs. Only a cluster with an authorizer keeps
grants (``CassandraAuthorizer``); one without says so and is left as it is.

A new cluster has one superuser, cassandra, whose password everybody knows: cassandra. `connect_without_default` gives it
that of the settings.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from cassandra import DriverException, InvalidRequest
from cassandra.cluster import NoHostAvailable, Session
from pydantic import SecretStr

from command_api.process.cassandra_login import remedy
from command_api.process.logging import get_logger
from command_api.process.settings import Cassandra, CassandraRoles, Login
from projector.cassandra.errors import CassandraError, CassandraUnreachableError
from projector.cassandra.session import close, connect

_log = get_logger(__name__)
_TIMEOUT_S: Final = 30.0
_DEFAULT: Final = "cassandra"  # both the name and the password of the superuser that Cassandra makes
_RETRY_S: Final = 0.5


class RolesError(CassandraError):
    """Cassandra keeps no roles, or this login may not make them; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role, its password, and by resource (as CQL names it) what it may.

    owns: the keyspace, as whoever made it does; Cassandra grants to an owner by itself, and that is left alone.
    """

    name: str
    password: str
    may: dict[str, tuple[str, ...]]
    owns: str = ""


def roles(settings: CassandraRoles, keyspace: str) -> tuple[Role, ...]:
    """The roles whose passwords the settings give; the others are somebody else's to make."""
    space = f'KEYSPACE "{keyspace}"'
    wanted: tuple[tuple[Login, dict[str, tuple[str, ...]]], ...] = (
        (settings.setup, {"ALL KEYSPACES": ("CREATE",), space: ("ALTER", "AUTHORIZE", "CREATE", "DROP", "MODIFY", "SELECT")}),
        (settings.projector, {space: ("SELECT", "MODIFY")}),
        (settings.reader, {space: ("SELECT",)}),
    )  # fmt: skip
    return tuple(
        Role(
            name=login.username,
            password=login.password.get_secret_value(),
            may=may,
            owns=keyspace if login is settings.setup else "",
        )
        for login, may in wanted
        if login.password is not None
    )


def connect_without_default(settings: Cassandra, *, deadline_s: float = 15.0) -> Session:
    """A session as the superuser `cassandra`, whose password is that of the settings and no longer Cassandra's default.

    Where the login of the settings is refused and the default one is not, the password is changed first; run again, this
    only logs in. A refusal counts when it lasts: a node that has just started makes its superuser a moment after it
    listens, and remembers a password for two seconds (credentials_validity) after it was changed.
    Raises RolesError, CassandraUnreachableError.
    """
    password = settings.password.get_secret_value() if settings.password is not None else ""
    if settings.username != _DEFAULT or password in ("", _DEFAULT):
        raise RolesError(
            "to replace Cassandra's default password set cassandra.username to cassandra, the superuser that has it,"
            " and cassandra.password to another one"
        )
    until = time.monotonic() + deadline_s
    replaced = False
    while True:
        try:
            return connect(settings)
        except CassandraUnreachableError as error:
            if not _is_refused_login(error):
                raise
            refused = error
        if not replaced:
            replaced = _replace_default(settings, password)
        if time.monotonic() >= until:
            raise refused if replaced else RolesError(f"{refused}; Cassandra's default password is refused too")
        time.sleep(_RETRY_S)  # the deadline is above; Cassandra tells nobody when a login is taken


def _is_refused_login(error: CassandraUnreachableError) -> bool:
    look_at = remedy(error.__cause__) if error.__cause__ is not None else None
    return look_at is not None and "cassandra.password" in look_at  # and not at a certificate


def _replace_default(settings: Cassandra, password: str) -> bool:
    """Whether the default login was let in, and has given its role the password."""
    try:
        session = connect(settings.model_copy(update={"password": SecretStr(_DEFAULT)}))
    except CassandraUnreachableError as error:
        if not _is_refused_login(error):
            raise
        return False
    try:
        _run(session, f"ALTER ROLE {_name(_DEFAULT)} WITH PASSWORD = {_text(password)}")
    except (DriverException, NoHostAvailable) as error:
        raise RolesError(f"the default password of the role {_DEFAULT} can't be replaced ({_safe(error)})") from None
    finally:
        close(session)
    _log.info("the default password is replaced", role=_DEFAULT)
    return True


def make(session: Session, chosen: tuple[Role, ...], keyspace: str) -> None:
    """Make the roles, or bring them to what they should be, as a superuser; raises RolesError."""
    try:
        there = session.execute(
            "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (keyspace,)
        ).one()
        for role in chosen:
            options = f"WITH LOGIN = true AND SUPERUSER = false AND PASSWORD = {_text(role.password)}"
            _run(session, f"CREATE ROLE IF NOT EXISTS {_name(role.name)} {options}")
            _run(session, f"ALTER ROLE {_name(role.name)} {options}")
            may = {on: names for on, names in role.may.items() if there is not None or on == "ALL KEYSPACES"}
            _take_back(session, role, may)
            for on, names in may.items():
                for name in names:
                    _run(session, f"GRANT {name} ON {on} TO {_name(role.name)}")
            _log.info("role is set up", role=role.name, may={on: list(names) for on, names in may.items()})
    except InvalidRequest as error:
        raise RolesError(
            f"Cassandra keeps no roles or grants ({_safe(error)}): set authenticator: PasswordAuthenticator, role_manager:"
            " CassandraRoleManager and authorizer: CassandraAuthorizer in cassandra.yaml"
        ) from None
    except (DriverException, NoHostAvailable) as error:
        raise RolesError(
            f"the roles can't be made ({_safe(error)}): cassandra.username must be a superuser, as `cassandra` is at first"
        ) from None
    if there is None:
        _log.warning(
            "there is no such keyspace yet: run `projector setup` as the set-up role, then this again",
            keyspace=keyspace,
        )


def _take_back(session: Session, role: Role, may: dict[str, tuple[str, ...]]) -> None:
    for row in session.execute(f"LIST ALL PERMISSIONS OF {_name(role.name)} NORECURSIVE", timeout=_TIMEOUT_S):
        on, keyspace = _resource(row.resource)
        if on and (not role.owns or role.owns != keyspace) and row.permission not in may.get(on, ()):
            _run(session, f"REVOKE {row.permission} ON {on} FROM {_name(role.name)}")
            _log.warning("taken back", role=role.name, permission=row.permission, resource=on)


def _resource(shown: str) -> tuple[str, str]:
    """CQL's name of a resource of data as LIST shows it (``<keyspace a>``), and its keyspace; empty for other resources."""
    kind, _, name = shown.strip("<>").partition(" ")
    keyspace, *table = name.split(".")
    match kind:
        case "all" if name == "keyspaces":
            return "ALL KEYSPACES", ""
        case "keyspace":
            return f'KEYSPACE "{keyspace}"', keyspace
        case "table":
            return f'TABLE "{keyspace}"."{".".join(table)}"', keyspace
    return "", ""


def _name(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


def _text(value: str) -> str:
    # CQL binds no value in statements about roles. A quote is the only character that ends a text.
    return "'" + value.replace("'", "''") + "'"


def _run(session: Session, statement: str) -> None:
    session.execute(statement, timeout=_TIMEOUT_S)


def _safe(error: Exception) -> str:
    # Cassandra's syntax errors repeat the statement, which holds a password.
    return type(error).__name__ if "PASSWORD" in str(error).upper() else str(error)
