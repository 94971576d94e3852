"""What a transaction has written, asked of Postgres itself just before it commits; and the token that says so.

Postgres counts the rows that a transaction inserts, updates and deletes, by table: those of cascades and triggers too,
which no reading of the commands would find. Counts that it has not yet passed on to its statistics would still hold rows
of transactions before; so they are passed on with every token (`FLUSH`), and a connection on which that was missed names
tables too many, never too few. Where Postgres doesn't count (``track_counts = off``), the token speaks of every table.

The token's position for all other tables is what was flushed just before the commit: whoever keeps only the newest token
has with it all that was committed, and replied to, before this command was sent. A caller who sends the token of before
along gets that one in its place, merged, and so a token that no foreign change makes anybody wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from command_api.database import Connection
from command_api.lsn import Lsn
from command_api.process.consistency import MOST_TABLES, ConsistencyToken
from command_api.tables import METADATA

FLUSH = "pg_stat_force_next_flush()"

_WRITTEN = """
    select pg_current_wal_flush_lsn()::text, array(
        select distinct coalesce(pg_partition_root(c.oid), c.oid)::regclass::text
        from pg_class c
        where c.relkind = 'r' and c.oid >= 16384 -- what initdb made comes before
          and pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
            + pg_stat_get_xact_tuples_deleted(c.oid) > 0)
"""
_PUBLISHED = frozenset(METADATA.tables)


EVERYTHING = "%1$s"
"""The template of a token that speaks of every table."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """tables: published ones that were written. before: flushed before the commit."""

    tables: frozenset[str]
    before: Lsn

    def template(self, earlier: ConsistencyToken | None) -> str:
        """The token's text for Postgres's format(), whose one argument is the position flushed after the commit.

        earlier: the token that the caller sent along.
        """
        known = ConsistencyToken(everywhere=self.before) if earlier is None else earlier
        others = {name: str(lsn) for name, lsn in known.tables.items() if name not in self.tables}
        tables = others | dict.fromkeys(self.tables, EVERYTHING)
        if len(tables) > MOST_TABLES:
            return EVERYTHING
        return str(known.everywhere) + "".join(f";{name}@{position}" for name, position in sorted(tables.items()))


async def footprint(connection: Connection) -> Footprint | None:
    """That of the transaction under way; None when it has written no published table."""
    cursor = await connection.execute(_WRITTEN)
    before, names = cast("tuple[str, list[str]]", await cursor.fetchone())
    tables = _PUBLISHED.intersection(names)
    return Footprint(tables=tables, before=Lsn.parse(before)) if tables else None
