"""Whether a live table holds what is declared, and the one change that it takes in place: more columns.

    Same        go on                              Different    the worker stops at its start, with what differs
    Additive    `projector setup` adds the columns; the worker fills them while it serves (`projector.added`)
    and back    a worker from before columns were added may go on: it leaves their own positions where they are

An added column's own position is made before the column is (`projections.added_columns`): nobody who declares it ever takes its
nulls for values. Promised: a set-up that is killed anywhere is finished by the next one. A worker may not ALTER, so it stops
and asks for the set-up instead.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.added_columns import position_name
from projections.cassandra_table import POSITIONS, CassandraTable, cassandra_table, write_timestamp
from projections.generations import Generation, Registered
from projections.read_model import ReadModel
from projections.shape import Additive, Different, Same, Shape, ShapeFormatError, compare, shape_of
from projector.cassandra.progress import read_positions
from projector.generations.errors import NotReadyError, RegistryError
from projector.generations.tables import registry_of, written, written_by

_log = get_logger(__name__)
_TIMEOUT_S = 60.0

Run = Callable[[str], None]
"""Runs a statement of the set-up."""


def verdicts(
    found: Mapping[str, Registered], models: Iterable[ReadModel], positions: Container[str]
) -> dict[str, Additive | Different]:
    """By read model, what keeps a worker with these declarations from writing; without those that it may write.

    positions: names of those that are published.
    """
    unfit = {}
    for model in models:
        if written_by(found[model.name], model) is not None:
            continue
        live = found[model.name].current
        verdict = _compared(live, model)
        if isinstance(verdict, Different) and (left := _left(live, model, positions)):
            _log.warning(
                "this worker leaves columns alone that were added after its declaration: another one is to fill them again",
                read_model=model.name,
                columns=left,
            )
        elif not isinstance(verdict, Same):  # which another release's fingerprint may differ from
            unfit[model.name] = verdict
    return unfit


def _left(live: Generation, model: ReadModel, positions: Container[str]) -> tuple[str, ...]:
    """The columns that a table has beyond a declaration, if that is all that differs and each was added later."""
    try:
        verdict = compare(shape_of(model), Shape.from_json(live.shape))
    except ShapeFormatError:
        return ()
    if not isinstance(verdict, Additive):
        return ()
    return verdict.columns if all(position_name(live.table, c) in positions for c in verdict.columns) else ()


def fitting_now(session: Session, settings: Settings, models: Iterable[ReadModel]) -> dict[str, str]:
    """By read model, the table that a worker writes; raises NotReadyError when one holds another declaration's rows."""
    models = tuple(models)
    found = registry_of(session, settings).read(model.name for model in models)
    unfit = verdicts(found, models, _positions(session, settings))
    told = [_told(found[name].current, verdict) for name, verdict in unfit.items()]
    if told:
        raise NotReadyError("; ".join(told))
    return written(found, models)


def _told(live: Generation, verdict: Additive | Different) -> str:
    name = live.read_model
    if isinstance(verdict, Additive):
        return (
            f"read model {name} declares {', '.join(verdict.columns)}, which its table {live.table} has not: run `projector setup`,"
            " which adds them, then start this again; it fills them while it goes on"
        )
    return (
        f"read model {name} is declared otherwise than its live table {live.table} was: {'; '.join(verdict.reasons)}. Build it a"
        f" table of its own with `projector generations build {name}` (the live one is served meanwhile by a worker with its"
        " declaration), or put the declaration back"
    )


def add_columns(session: Session, settings: Settings, models: Iterable[ReadModel], run: Run) -> None:
    """Alter the live tables of declarations that only have more columns. Raises RegistryError, NotReadyError, as `run` does."""
    models = tuple(models)
    registry = registry_of(session, settings)
    found = registry.read(model.name for model in models)
    of_name = {model.name: model for model in models}
    for name, verdict in verdicts(found, models, _positions(session, settings)).items():
        live = found[name].current
        if isinstance(verdict, Different):
            _log.warning("the live table stays as it is", reason=_told(live, verdict))
            continue
        table = cassandra_table(of_name[name], settings.cassandra.keyspace, live.table)
        for column in verdict.columns:
            _mark(session, settings, live.table, column)
        for statement in alterations(table, verdict.columns):
            run(statement)
        registry.reshape(live, shape_of(of_name[name]))
        _log.info("columns added: workers fill them", read_model=name, table=live.table, columns=verdict.columns)


def alterations(table: CassandraTable, columns: Iterable[str]) -> list[str]:
    """The CQL that adds columns to a table, with their types; may be run again."""
    *types, _ = table.creation()  # those that are there stay as they are
    added = ", ".join(f'"{name}" {table.cql(name)}' for name in columns)
    return [*types, f"ALTER TABLE {table.qualified} ADD IF NOT EXISTS ({added})"]


def check_unregistered(session: Session, table: CassandraTable) -> None:
    """Raise NotReadyError unless a table that nobody has registered has just the columns that are declared."""
    rows = session.execute(
        "SELECT column_name FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
        (table.keyspace, table.stored or table.name),
        timeout=_TIMEOUT_S,
    )
    there = {row.column_name for row in rows}
    if there != table.columns.keys():
        lacks, more = sorted(table.columns.keys() - there), sorted(there - table.columns.keys())
        raise NotReadyError(
            f"{table.qualified} was made for another declaration (it lacks {lacks or 'nothing'} and has {more or 'nothing'} beside),"
            f" and nothing says for which: run `projector reset {table.name}`, which makes and fills it anew"
        )


def _compared(live: Generation, model: ReadModel) -> Same | Additive | Different:
    try:
        return compare(Shape.from_json(live.shape), shape_of(model))
    except ShapeFormatError as error:
        return Different((f"generation {live.number} is registered with {error}",))


def _positions(session: Session, settings: Settings) -> Container[str]:
    return read_positions(session, settings.cassandra.keyspace, settings.projector.projection, 0).keys()


def _mark(session: Session, settings: Settings, table: str, column: str) -> None:
    """Make a column's own position 0, as of where its table is: a fill ends beyond that. Raises RegistryError."""
    keyspace, chosen = settings.cassandra.keyspace, settings.projector
    name = position_name(table, column)
    try:
        reached = read_positions(session, keyspace, chosen.projection, 0).get(table)
        session.execute(
            f'INSERT INTO "{keyspace}"."{POSITIONS}" (projection, read_model, shard, lsn, epoch)'
            f" VALUES (%s, %s, 0, 0, %s) USING TIMESTAMP {write_timestamp(chosen.epoch, reached.lsn if reached else 0)}",
            (chosen.projection, name, chosen.epoch),
            timeout=_TIMEOUT_S,
        )
        seen = read_positions(session, keyspace, chosen.projection, 0).get(name)
    except (DriverException, NoHostAvailable) as error:
        raise RegistryError(f"the position of {name} can't be made ({error}): run `projector setup` again") from error
    if seen is None:
        raise NotReadyError(
            f"{table} had a column {column!r} before it was reset, and covers less than then: let its worker catch up with the"
            " declaration that it has, then run `projector setup` again"
        )
