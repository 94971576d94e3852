"""The Cassandra table of a read model, and the CQL that makes, fills and reads it. Pure text; no connection here.

Every write statement takes whole rows. Timestamps are not in the text: the writer sets them on the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from projections.read_model import Clustering, ReadModel
from projections.values import Kind, ValueType

GC_GRACE_SECONDS = 864_000


@dataclass(frozen=True, kw_only=True)
class CassandraTable:
    """A table: `columns` maps each name to its type, key columns first (partition, clustering), then the others.

    name: what the engine calls it, the read model's. stored: its name in Cassandra, where it is a later generation's
    (`projections.generations`); empty when it is the same.
    """

    keyspace: str
    name: str
    columns: dict[str, ValueType]
    partition_key: tuple[str, ...]
    clustering: tuple[Clustering, ...]
    stored: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Partition key, then clustering key."""
        return self.partition_key + tuple(c.column for c in self.clustering)

    @property
    def qualified(self) -> str:
        """``"keyspace"."table"``, as Cassandra knows it."""
        return f'"{self.keyspace}"."{self.stored or self.name}"'

    @property
    def documents(self) -> dict[str, ValueType]:
        """The columns that hold documents."""
        return {name: kind for name, kind in self.columns.items() if kind.kind is Kind.DOCUMENT}

    def document_type(self, column: str) -> str:
        """The name of the user-defined type of a document's rows, in the table's keyspace."""
        return f"{self.stored or self.name}_{column}"

    def cql(self, column: str) -> str:
        """The CQL type of a column.

        A document is a frozen list: it is written whole, so an update of an entry would buy nothing, and a list that is
        not frozen leaves a tombstone at each overwrite.
        """
        kind = self.columns[column]
        return f'frozen<list<frozen<"{self.document_type(column)}">>>' if kind.kind is Kind.DOCUMENT else kind.cql

    def creation(self) -> list[str]:
        """``CREATE TYPE IF NOT EXISTS`` of each document's rows, then the table's own statement."""
        types = (
            f'CREATE TYPE IF NOT EXISTS "{self.keyspace}"."{self.document_type(name)}" ('
            + ", ".join(f'"{field}" {of.cql}' for field, of in kind.fields)
            + ")"
            for name, kind in self.documents.items()
        )
        return [*types, self.create()]

    def drop(self) -> list[str]:
        """``DROP`` of the table and then of its types, as far as they are there."""
        types = (f'DROP TYPE IF EXISTS "{self.keyspace}"."{self.document_type(name)}"' for name in self.documents)
        return [f"DROP TABLE IF EXISTS {self.qualified}", *types]

    def create(self) -> str:
        """``CREATE TABLE IF NOT EXISTS``, one column a line; a document's type is there before it (`creation`)."""
        columns = "".join(f'    "{name}" {self.cql(name)},\n' for name in self.columns)
        partition = ", ".join(f'"{name}"' for name in self.partition_key)
        clustering = "".join(f', "{c.column}"' for c in self.clustering)
        order = ", ".join(f'"{c.column}" {"DESC" if c.descending else "ASC"}' for c in self.clustering)
        options = [f"CLUSTERING ORDER BY ({order})"] if order else []
        options.append(f"gc_grace_seconds = {GC_GRACE_SECONDS}")
        return (
            f"CREATE TABLE IF NOT EXISTS {self.qualified} (\n{columns}"
            f"    PRIMARY KEY (({partition}){clustering})\n) WITH {' AND '.join(options)}"
        )

    def insert(self) -> str:
        """A whole row: one marker a column, in the order of `columns`."""
        names = ", ".join(f'"{name}"' for name in self.columns)
        return f"INSERT INTO {self.qualified} ({names}) VALUES ({', '.join('?' * len(self.columns))})"

    def delete(self) -> str:
        """One row: one marker a key column, in the order of `key`."""
        return f"DELETE FROM {self.qualified} WHERE " + " AND ".join(f'"{name}" = ?' for name in self.key)

    def select_partition(self) -> str:
        """All columns of one partition, in clustering order."""
        names = ", ".join(f'"{name}"' for name in self.columns)
        where = " AND ".join(f'"{name}" = ?' for name in self.partition_key)
        return f"SELECT {names} FROM {self.qualified} WHERE {where}"


def cassandra_table(model: ReadModel, keyspace: str, stored: str = "") -> CassandraTable:
    """The table of a read model in a keyspace. stored: its name there, of a generation that has one of its own."""
    columns = model.columns
    others = [name for name in columns if name not in model.key]
    return CassandraTable(
        keyspace=keyspace,
        name=model.name,
        columns={name: columns[name] for name in (*model.key, *others)},
        partition_key=model.partition_key,
        clustering=model.clustering,
        stored=stored,
    )


POSITIONS = "projection_positions"


def create_positions(keyspace: str) -> str:
    """The table of covered positions: one partition a projection (a log), one row a read model and shard.

    `lsn` is the end LSN up to which the read model covers the log; its write timestamp is made of that LSN, so an
    older position never replaces a newer one. `committed_at` is the commit time (microseconds) of that transaction.
    `dead_letters` is how many rows the table lacks because Cassandra refused them (`projections.dead_letters`).
    """
    return (
        f'CREATE TABLE IF NOT EXISTS "{keyspace}"."{POSITIONS}" (projection text, read_model text, shard int,'
        " lsn bigint, epoch int, committed_at bigint, dead_letters int, PRIMARY KEY ((projection), read_model, shard))"
    )


def write_timestamp(epoch: int, lsn: int) -> int:
    """``(epoch << 52) | lsn``: above any clock's microseconds for epoch >= 1, and ordered as the log is.

    Raises ValueError when epoch is outside 1..2047 or the LSN needs more than 52 bits (4 PiB of WAL).
    """
    if not 1 <= epoch <= 2047:
        raise ValueError(f"epoch {epoch} is outside 1..2047")
    if not 0 <= lsn < 1 << 52:
        raise ValueError(f"LSN {lsn} needs more than 52 bits")
    return epoch << 52 | lsn
