"""A few partitions that are there, as their keys: nobody knows a uuid by heart. Which ones is Cassandra's choice."""

from __future__ import annotations

from typing import Any

import msgspec

from read_api.rendering import RowRenderer
from read_api.request import Route
from read_api.store import Store

MOST_KEYS = 8
_LOOKED_AT = 40  # partitions: those of several time buckets may be one key


async def some_keys(store: Store, route: Route) -> list[list[Any]]:
    """At most MOST_KEYS different keys, each the values of the route's path; raises ProblemError."""
    table = route.table
    columns = ", ".join(f'"{name}"' for name in table.partition_key)
    found = await store.read(f'SELECT DISTINCT {columns} FROM "{table.keyspace}"."{table.name}" LIMIT {_LOOKED_AT}', ())
    kinds = {name: table.columns[name] for name in table.partition_key}
    rows = msgspec.to_builtins(RowRenderer(kinds)(found.rows))
    keys = {msgspec.json.encode(key): key for row in rows if (key := [row[name] for name in route.path])}
    return list(keys.values())[:MOST_KEYS]
