"""The pseudo-tables in Postgres: made, published, granted, made anew. Run by an operator as ``postgres.admin``.

Promised: a table joins the publication empty, so that the log holds every row that the table ever gets; all is one
transaction. A table that is there and published stays as it is. Rights are given to the users of the settings' conninfos:
to the refresher what a run needs, to the relay, the reader and the verifier SELECT. Not done here: the refresher's right
to read the source tables (`lockstep_refresher` has the reader's, by the migrations).
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.read_model import ReadModel
from projections.refreshed import SCHEMA, earlier_tables, pseudo_table, scheduled
from projector.refresh.connection import connected
from projector.refresh.errors import RefreshSetupError
from projector.refresh.statements import RUNS

_log = get_logger(__name__)
_ALL = "scheduled read models"
_TIMEOUT_S = 60
_LOCK = "hashtextextended('lockstep_refresh', 0)"
_SCHEMA = sql.Identifier(SCHEMA)


def set_up_refresh(settings: Settings, models: Iterable[ReadModel], *, recreate: Iterable[str] = ()) -> None:
    """Make what the scheduled read models need in Postgres; nothing, and no connection, when there is none.

    recreate: names of read models whose tables, of whatever columns, are dropped first. Raises RefreshError.
    """
    chosen, anew = scheduled(models), frozenset(recreate)
    unknown = anew - {model.name for model in chosen}
    if unknown:
        raise RefreshSetupError(
            ", ".join(sorted(unknown)), "no scheduled read model has this name", hint="Name one that has refresh="
        )
    if not chosen:
        return
    admin = settings.postgres.admin.get_secret_value()
    with (
        connected(admin, _ALL, setting="postgres.admin", timeout_s=_TIMEOUT_S) as connection,
        connection.transaction(),
    ):
        connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(_SCHEMA))
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (read_model text PRIMARY KEY, started_at timestamptz NOT NULL,"
                " inserted bigint NOT NULL, updated bigint NOT NULL, deleted bigint NOT NULL)"
            ).format(RUNS)
        )
        for model in chosen:
            _set_up(connection, model, settings.relay.publication, anew=model.name in anew)
        _grant(connection, settings)


def _set_up(connection: psycopg.Connection, model: ReadModel, publication: str, *, anew: bool) -> None:
    wanted = pseudo_table(model)
    there = _tables(connection, model)
    if anew:
        for name in there:
            old = sql.Identifier(SCHEMA, name)
            connection.execute(
                sql.SQL("TRUNCATE {}").format(old)
            )  # the log says so; of a dropped table it says nothing
            connection.execute(sql.SQL("DROP TABLE {}").format(old))
            _log.warning("pseudo-table dropped", read_model=model.name, table=f"{SCHEMA}.{name}")
        there = []
    elif there and wanted.name not in there:
        raise RefreshSetupError(
            model.name,
            f"its columns or its key have changed since {SCHEMA}.{there[0]} was made",
            hint=f"`projector setup --recreate {model.name}` drops that table and makes a new one, which the next run fills;"
            f" then `projector reset {model.name}`, and start the worker with a new replica",
        )
    table = sql.Identifier(SCHEMA, wanted.name)
    made = wanted.name not in there
    if made:
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        connection.execute(str(CreateTable(wanted).compile(dialect=dialect)).encode())
    if _published(connection, model, publication, wanted.name):
        return
    if not made:
        connection.execute(sql.SQL("TRUNCATE {}").format(table))
    connection.execute(sql.SQL("DELETE FROM {} WHERE read_model = %s").format(RUNS), (model.name,))
    connection.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(sql.Identifier(publication), table))
    _log.info("pseudo-table is published, empty until the first run", read_model=model.name, table=str(wanted.fullname))


def _tables(connection: psycopg.Connection, model: ReadModel) -> list[str]:
    rows = connection.execute(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = %s AND tablename ~ %s ORDER BY 1",
        (SCHEMA, earlier_tables(model)),
    )
    return [name for (name,) in rows]


def _published(connection: psycopg.Connection, model: ReadModel, publication: str, table: str) -> bool:
    row = connection.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (publication,)).fetchone()
    if row is None:
        raise RefreshSetupError(
            model.name, f"the publication {publication!r} is missing in Postgres", hint="Run `relay setup` first"
        )
    row = connection.execute(
        "SELECT 1 FROM pg_publication_tables WHERE pubname = %s AND schemaname = %s AND tablename = %s",
        (publication, SCHEMA, table),
    ).fetchone()
    return row is not None


def _grant(connection: psycopg.Connection, settings: Settings) -> None:
    postgres = settings.postgres
    rights = (
        ("refresher", postgres.refresher, "SELECT, INSERT, UPDATE, DELETE"),
        ("relay", postgres.relay, "SELECT"),
        ("reader", postgres.reader, "SELECT"),
        ("verifier", postgres.verifier, "SELECT"),
    )
    for field, conninfo, right in rights:
        if conninfo is None:
            continue
        user = conninfo_to_dict(conninfo.get_secret_value()).get("user")
        if not user:
            _log.warning("nothing granted: the conninfo names no user", setting=f"postgres.{field}")
            continue
        role = sql.Identifier(str(user))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_SCHEMA, role))
        connection.execute(sql.SQL("GRANT {} ON ALL TABLES IN SCHEMA {} TO {}").format(sql.SQL(right), _SCHEMA, role))
        if field == "refresher":
            database = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(database, role))
