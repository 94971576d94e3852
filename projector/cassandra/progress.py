"""The covered positions in Cassandra: what a reader consults before it reads rows, and a new worker before it writes.

Promised: a position never replaces a newer one, since its write timestamp is made of its own LSN like that of rows.
That it is published only after the rows' acknowledgement is `Writer.publish_positions`' promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cassandra import ConsistencyLevel, DriverException, InvalidRequest, RequestValidationException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.query import SimpleStatement

from projections.cassandra_table import POSITIONS, CassandraTable, write_timestamp
from projections.read_model import Clustering
from projections.values import Kind, ValueType
from projector.cassandra.encode import Row
from projector.cassandra.errors import CassandraUnreachableError, MissingTableError, RefusedStatementError

_TEXT = ValueType(kind=Kind.TEXT)
_INT = ValueType(kind=Kind.INTEGER, bits=32)
_BIGINT = ValueType(kind=Kind.INTEGER, bits=64)


@dataclass(frozen=True, kw_only=True)
class Position:
    """What a read model covers: the log up to `lsn` of source history `epoch`.

    committed_at: commit time of the last covered transaction, microseconds since the Unix epoch.
    """

    lsn: int
    epoch: int
    committed_at: int


def positions_table(keyspace: str) -> CassandraTable:
    """The table of `projections.cassandra_table.create_positions`, as the writer sees it."""
    return CassandraTable(
        keyspace=keyspace,
        name=POSITIONS,
        columns={
            "projection": _TEXT,
            "read_model": _TEXT,
            "shard": _INT,
            "lsn": _BIGINT,
            "epoch": _INT,
            "committed_at": _BIGINT,
        },
        partition_key=("projection",),
        clustering=(Clustering(column="read_model"), Clustering(column="shard")),
    )


def position_rows(
    projection: str, shard: int, positions: Mapping[str, int], committed_at: int, epoch: int
) -> dict[int, list[Row]]:
    """Rows of `positions_table` by write timestamp; `positions` is read model to covered LSN."""
    rows: dict[int, list[Row]] = {}
    for read_model, lsn in positions.items():
        row = (projection, read_model, shard, int(lsn), epoch, committed_at)
        rows.setdefault(write_timestamp(epoch, lsn), []).append(row)
    return rows


def read_positions(session: Session, keyspace: str, projection: str, shard: int) -> dict[str, Position]:
    """Each read model's published position, read at LOCAL_QUORUM.

    Raises MissingTableError, RefusedStatementError, CassandraUnreachableError.
    """
    table = positions_table(keyspace)
    query = SimpleStatement(
        f"SELECT read_model, shard, lsn, epoch, committed_at FROM {table.qualified} WHERE projection = %s",
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
    )
    try:
        rows = session.execute(query, (projection,))
    except InvalidRequest as error:
        raise MissingTableError(f"{table.qualified} can't be read ({error}): run `projector setup`") from error
    except RequestValidationException as error:
        raise RefusedStatementError(
            f"{table.qualified} must not be read: {error}. Grant it SELECT on the keyspace (`projector roles`)"
        ) from error
    except (NoHostAvailable, DriverException) as error:
        raise CassandraUnreachableError(f"{table.qualified} can't be read: {error}") from error
    return {
        row.read_model: Position(lsn=row.lsn, epoch=row.epoch, committed_at=row.committed_at)
        for row in rows
        if row.shard == shard and row.lsn is not None  # a number of dead letters may be there before any position
    }
