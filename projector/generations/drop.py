"""The end of a generation: marked as dropped in the registry, then its tables and types go, its marks and its positions.

Promised: the live generation is never dropped, also when somebody switches to another one meanwhile: both are conditional writes of one
partition. A drop that is killed is finished by the same command. Whoever reads a generation that was live until just now has
`SETTLE_S` to follow the pointer first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from projections.added_columns import is_of
from projections.cassandra_table import POSITIONS
from projections.dead_letters import COLUMN, DEAD_LETTERS
from projections.generations import Generation, State
from projector.cassandra.progress import Position
from projector.generations.errors import NotReadyError, RegistryError
from projector.generations.registry import Registry
from projector.generations.remains import drop_statements

SETTLE_S = 5.0
_WATCH_S = 1.5
_POLL_S = 0.1
_TIMEOUT_S = 60.0


def drop(
    session: Session,
    registry: Registry,
    positions: Callable[[], Mapping[str, Position]],
    name: str,
    number: int,
    *,
    keyspace: str,
    projection: str,
    force: bool = False,
) -> Generation:
    """Drop a generation; again, what is left of one that was dropped. force: also while a worker still writes it.

    Raises NotReadyError, TakenError, RegistryError.
    """
    of_model = registry.read((name,))[name]
    if number not in of_model.generations:
        raise NotReadyError(
            f"{name} has no generation {number}: it has {', '.join(map(str, sorted(of_model.generations)))}"
        )
    generation = of_model.generations[number]
    if generation.state is not State.DROPPED:
        if number != of_model.live:
            if not force and _moves(positions, generation.table):
                raise NotReadyError(
                    f"a worker still writes {generation.table}: stop that worker or build, or restart it with the declaration that is"
                    " live; --force drops it all the same, and that worker stops"
                )
            _settle(of_model.switched_at)
        registry.drop(of_model, generation)
    for statement in drop_statements(generation, keyspace):
        _run(session, statement)
    _forget(session, generation.table, keyspace, projection)
    return generation


def _moves(positions: Callable[[], Mapping[str, Position]], table: str) -> bool:
    """Whether a table's position goes on: heartbeats move it, also while nothing is written."""
    first, until = positions().get(table), time.monotonic() + _WATCH_S
    while first is not None and time.monotonic() < until:
        time.sleep(_POLL_S)  # a poll inside the deadline
        if positions().get(table) != first:
            return True
    return False


def _settle(switched_at: int) -> None:
    left = SETTLE_S - (time.time() - switched_at / 1e6)
    if 0 < left <= SETTLE_S:
        time.sleep(left)  # readers that have not followed yet say so to nobody


def _forget(session: Session, table: str, keyspace: str, projection: str) -> None:
    """Delete the marks of a table's dead letters, then its position and those of its added columns."""
    marks, positions = f'"{keyspace}"."{DEAD_LETTERS}"', f'"{keyspace}"."{POSITIONS}"'
    # What workers write carries a time far above any clock's: only that one deletes it.
    try:
        where, of_table = "WHERE projection = %s AND read_model = %s", (projection, table)
        newest = session.execute(
            f"SELECT max(writetime(lsn)) FROM {marks} {where}", of_table, timeout=_TIMEOUT_S
        ).one()[0]
        if newest is not None:
            session.execute(f"DELETE FROM {marks} USING TIMESTAMP {int(newest)} {where}", of_table, timeout=_TIMEOUT_S)
        rows = session.execute(
            f"SELECT read_model, shard, writetime(lsn) AS moved, writetime({COLUMN}) AS counted FROM {positions}"
            " WHERE projection = %s",
            (projection,),
            timeout=_TIMEOUT_S,
        )
        for row in rows:
            if is_of(row.read_model, table):
                written = max(row.moved or 0, row.counted or 0)
                stamp = f"USING TIMESTAMP {int(written)} " if written else ""
                session.execute(
                    f"DELETE FROM {positions} {stamp}{where} AND shard = %s",
                    (projection, row.read_model, row.shard),
                    timeout=_TIMEOUT_S,
                )
    except (DriverException, NoHostAvailable) as error:
        raise RegistryError(
            f"the marks and positions of {table} can't be deleted ({error}): repeat the command"
        ) from error


def _run(session: Session, statement: str) -> None:
    try:
        session.execute(statement, timeout=_TIMEOUT_S)
    except (DriverException, NoHostAvailable) as error:
        raise RegistryError(
            f"Cassandra refused: {statement} ({error}): repeat the command when that is mended"
        ) from error
