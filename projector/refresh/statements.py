"""The SQL of one run over a read model's pseudo-table. Pure: text from a declaration, nothing is executed.

In order, in one transaction:

    answers       a temporary table of what the select() gives, in the types that Postgres gave it
    lossy         the rows of it whose values the declared types would change: there must be none
    wanted        the same rows in the declared types, under the read model's key
    delete        rows of the pseudo-table whose key is not wanted
    update        rows whose other columns differ, byte for byte (``*=``: json too, and 1.0 is not 1.00)
    insert        rows whose key is not there yet
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql
from sqlalchemy.dialects import postgresql

from projections.read_model import ReadModel
from projections.refreshed import SCHEMA, pseudo_table

_ANSWERS = sql.Identifier("pg_temp", "lockstep_answers")
_WANTED = sql.Identifier("pg_temp", "lockstep_wanted")
RUNS = sql.Identifier(SCHEMA, "_runs")  # no read model's name begins so
_AND, _COMMA = sql.SQL(" AND "), sql.SQL(", ")


@dataclass(frozen=True, kw_only=True)
class RunStatements:
    """answers, wanted, fill, delete, update, insert are run in this order; update is None for a table of keys alone.

    table: the pseudo-table. types: the columns of answers whose type is not the declared one, with the declared one.
    """

    table: sql.Identifier
    answers: sql.Composed
    types: sql.Composed
    wanted: sql.Composed
    fill: sql.Composed
    analyze: sql.Composed
    delete: sql.Composed
    update: sql.Composed | None
    insert: sql.Composed
    key: tuple[str, ...]

    def lossy(self, changed: list[tuple[str, str]]) -> sql.Composed:
        """The first row with a value that its declared type would change; `changed` is what `types` gave."""
        differs = sql.SQL(" OR ").join(
            sql.SQL("a.{name} IS DISTINCT FROM a.{name}::{type}").format(
                name=sql.Identifier(name), type=sql.SQL(declared)
            )
            for name, declared in changed
        )
        columns = _COMMA.join(sql.SQL("a.{}").format(sql.Identifier(name)) for name, _ in changed)
        return sql.SQL("SELECT {} FROM {} AS a WHERE {} LIMIT 1").format(columns, _ANSWERS, differs)


def select_text(model: ReadModel) -> str:
    """The select() as Postgres is sent it, its constants written out."""
    # "named" leaves a percent sign as it is: the text is sent without parameters.
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(model.select.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def run_statements(model: ReadModel) -> RunStatements:
    """The statements of a scheduled read model."""
    source = pseudo_table(model)
    table = sql.Identifier(SCHEMA, source.name)
    names = [str(column.name) for column in source.columns]
    others = [name for name in names if name not in model.key]
    columns = _COMMA.join(map(sql.Identifier, names))
    same_key = _AND.join(sql.SQL("w.{0} = t.{0}").format(sql.Identifier(name)) for name in model.key)

    def row(alias: str) -> sql.Composed:
        each = _COMMA.join(sql.SQL("{}.{}").format(sql.SQL(alias), sql.Identifier(name)) for name in others)
        return sql.SQL("ROW({})::record").format(each)  # the cast keeps Postgres from comparing column by column

    update = sql.SQL(
        "UPDATE {table} AS t SET {set} FROM {wanted} AS w WHERE {same} AND NOT {new} OPERATOR(pg_catalog.*=) {old}"
    ).format(
        table=table,
        set=_COMMA.join(sql.SQL("{0} = w.{0}").format(sql.Identifier(name)) for name in others),
        wanted=_WANTED,
        same=same_key,
        new=row("w"),
        old=row("t"),
    )
    return RunStatements(
        table=table,
        answers=sql.SQL("CREATE TEMPORARY TABLE lockstep_answers ON COMMIT DROP AS {}").format(
            sql.SQL(select_text(model))
        ),
        types=sql.SQL(
            "SELECT t.attname::text, format_type(t.atttypid, t.atttypmod) FROM pg_attribute AS t JOIN pg_attribute AS a"
            " ON a.attname = t.attname WHERE t.attrelid = {}::regclass AND a.attrelid = {}::regclass AND t.attnum > 0"
            " AND NOT t.attisdropped AND (t.atttypid, t.atttypmod) <> (a.atttypid, a.atttypmod) ORDER BY t.attnum"
        ).format(sql.Literal(f'"{SCHEMA}"."{source.name}"'), sql.Literal("pg_temp.lockstep_answers")),
        wanted=sql.SQL("CREATE TEMPORARY TABLE lockstep_wanted (LIKE {} INCLUDING INDEXES) ON COMMIT DROP").format(
            table
        ),
        fill=sql.SQL("INSERT INTO {} ({columns}) SELECT {columns} FROM {}").format(_WANTED, _ANSWERS, columns=columns),
        analyze=sql.SQL("ANALYZE {}").format(_WANTED),
        delete=sql.SQL("DELETE FROM {} AS t WHERE NOT EXISTS (SELECT FROM {} AS w WHERE {})").format(
            table, _WANTED, same_key
        ),
        update=update if others else None,
        insert=sql.SQL(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {} AS w WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})"
        ).format(table, _WANTED, table, same_key, columns=columns),
        key=model.key,
    )
