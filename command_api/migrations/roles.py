"""The least-privilege roles: one for each process that connects.

    lockstep_command_api   select, insert, update, delete on every table
    lockstep_relay         replication, and select on the source tables (for snapshots)
    lockstep_reader        select on the source tables
    lockstep_refresher     what the reader may; `projector setup` lets it write the tables of scheduled read models

Roles belong to the cluster, not to a database, so they may exist already, or be made by a migration of another database
at this very moment; grants are per database. A role without a password can't log in under SCRAM; `set_passwords` gives
it the one that its conninfo in the settings has.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from command_api.process.logging import get_logger
from command_api.process.settings import Postgres

COMMAND_API = "lockstep_command_api"
RELAY = "lockstep_relay"
READER = "lockstep_reader"
REFRESHER = "lockstep_refresher"

_log = get_logger(__name__)


def creation(role: str, attributes: str = "") -> str:
    """SQL that makes `role` if it is missing, and is content when another session makes it first."""
    return f"""
        do $$ begin
            if not exists (select from pg_roles where rolname = '{role}') then
                create role {role} login {attributes};
            end if;
        exception when duplicate_object or unique_violation then null;
        end $$
    """


def membership(role: str, of: str) -> str:
    """SQL that gives `role` the rights of `of`, and is content when another session does it first."""
    return f"""
        do $$ begin
            if not pg_has_role('{role}', '{of}', 'member') then
                grant {of} to {role};
            end if;
        exception when unique_violation or internal_error then null;
        end $$
    """


def grants(source_tables: Iterable[str], private_tables: Iterable[str]) -> list[str]:
    """The GRANT statements for these tables of the current database."""
    source, private = ", ".join(source_tables), ", ".join(private_tables)
    every = ", ".join(filter(None, (source, private)))
    statements = [f"grant select, insert, update, delete on {every} to {COMMAND_API}"]
    if source:
        statements.append(f"grant select on {source} to {RELAY}, {READER}")
    return statements


def _concurrent_update(error: BaseException) -> bool:
    # Two sessions that alter one role: the catalogue has no row lock to wait for, one of them gets XX000.
    return isinstance(error, psycopg.errors.InternalError_) and "concurrently updated" in str(error)


def set_passwords(connection: psycopg.Connection, postgres: Postgres) -> None:
    """Give each role the password of its conninfo, if there is one; what is sent is the SCRAM verifier, never the text.

    A conninfo for a user of another name is left alone: whoever made that user made its password too.
    """
    for role, secret in (
        (COMMAND_API, postgres.command_api),
        (RELAY, postgres.relay),
        (READER, postgres.reader),
        (REFRESHER, postgres.refresher),
    ):
        given = conninfo_to_dict(secret.get_secret_value())
        password = given.get("password")
        if not password:
            continue
        if given.get("user") != role:
            _log.warning("password not managed", role=role, user=given.get("user"), hint=f"grant {role} to this user")
            continue
        verifier = connection.pgconn.encrypt_password(str(password).encode(), role.encode(), b"scram-sha-256")
        statement = sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
        for attempt in Retrying(
            retry=retry_if_exception(_concurrent_update),
            wait=wait_random(0, 0.1),
            stop=stop_after_delay(10),
            reraise=True,
        ):
            with attempt, connection.transaction():
                connection.execute(statement)
