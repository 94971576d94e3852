"""Is a feed equal to its SQL? Its table holds a part of it; so readers' pages are compared, as the read API gives them.

Right only while nobody writes to the source tables and the read models cover them, which the caller sees to.
"""

from __future__ import annotations

from random import Random
from typing import Any

import httpx
import msgspec

from deploy.local.demo_equal import Comparison, from_postgres, sql_text
from deploy.local.demo_servers import DemoError, Servers
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel
from read_api.rendering import RowRenderer

READERS = 60
_PAGE_ROWS = 37  # many pages, and not what a partition or an author has


def compare_feed(servers: Servers, model: ReadModel, seed: int, readers: int = READERS) -> Comparison:
    """Hold every page of some readers, of a seed, against the select() of each: all columns, in order."""
    (reader,) = model.partition_key
    known = servers.postgres.execute(
        f'select distinct "{reader}" from ({sql_text(model.select)}) as answers order by 1'.encode()
    ).fetchall()
    rows, differing, samples = 0, 0, []
    with httpx.Client(base_url=servers.read_api, timeout=30, trust_env=False, headers=servers.authorization) as client:
        for (each,) in Random(seed).sample(known, min(readers, len(known))):  # noqa: S311 - repeatable on purpose
            wanted, found = _sql_rows(servers, model, each), _pages(client, model, each)
            rows += len(wanted)
            if wanted != found:
                differing += 1
                first = next((n for n, pair in enumerate(zip(wanted, found, strict=False)) if pair[0] != pair[1]), None)
                at = min(len(wanted), len(found)) if first is None else first
                samples.append(
                    f"reader {each}, row {at} of {len(wanted)} and {len(found)}: SQL {wanted[at : at + 1]}, read {found[at : at + 1]}"
                )
    return Comparison(rows=rows, missing=differing, surplus=0, samples=tuple(samples[:3]))


def _sql_rows(servers: Servers, model: ReadModel, reader: Any) -> list[dict[str, Any]]:
    table = cassandra_table(model, servers.settings.cassandra.keyspace)
    names = ", ".join(f'"{column}"' for column in table.columns)
    order = ", ".join(f'"{c.column}"{" desc" if c.descending else ""}' for c in model.clustering)
    found = servers.postgres.execute(
        f'select {names} from ({sql_text(model.select)}) as answers where "{model.partition_key[0]}" = %s'
        f" order by {order}".encode(),
        (reader,),
    ).fetchall()
    converters = [from_postgres(model, column) for column in table.columns]
    rows = [tuple(convert(value) for convert, value in zip(converters, row, strict=True)) for row in found]
    # Through JSON, as a reply goes.
    return msgspec.json.decode(msgspec.json.encode(RowRenderer(table.columns)(rows)), type=list[dict[str, Any]])


def _pages(client: httpx.Client, model: ReadModel, reader: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    page: str | None = ""
    while page is not None:
        parameters = {"limit": str(_PAGE_ROWS)} | ({"page": page} if page else {})
        reply = client.get(f"/read/{model.name}/{reader}", params=parameters)
        if reply.status_code != 200:
            raise DemoError(
                f"the read API answered {reply.status_code}: {reply.text[:300]}", hint="look at read-api's log"
            )
        rows += reply.json()["rows"]
        page = reply.json()["next_page"]
    return rows
