"""The order in which a statement over images and current rows joins them, so that it never scans a replica table.

Images come first and each further relation is one that equalities link to those before it: SQLite is told the order by
CROSS JOIN, because left to itself it may begin with a table. Images that are joined to other rows are taken once for
each distinct set of the values that the statement reads: a row that changes a hundred times in a batch finds its
partners once, not a hundred times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from projector.compile.errors import RefusedError
from projector.compile.expression import Expression, equalities, identifier
from projector.compile.names import MINOR, WEIGHT, images_name, replica_name
from projector.compile.relation import Lookups


@dataclass(frozen=True, kw_only=True)
class Source:
    """A relation in a statement: its place in the model's FROM, its alias, the table, and whether images of it are meant.

    minor: False leaves out images of rows of which only minor columns have changed (`ReplicaTable.minor`).
    """

    index: int
    alias: str
    table: str
    images: bool
    minor: bool = True

    @property
    def imaged(self) -> str:
        """The images, for a FROM."""
        images = images_name(self.table)
        return images if self.minor else f"(SELECT * FROM {images} WHERE NOT {MINOR})"


def from_items(
    sources: Sequence[Source],
    terms: Sequence[Expression],
    read: Mapping[int, set[str]],
    *,
    weighted: bool = False,
    least: bool = False,
    beside: str = "",
) -> tuple[str, Lookups]:
    """FROM's text and its look-ups. read: columns read of each place. weighted: images keep their weights, summed.

    least: of equal images the least weight is kept. beside: joins that only look something up for the first relation. Raises RefusedError for a relation that no equality links to the others.
    """
    joined = len(sources) > 1
    items, looked_up = [], []
    for source, links in in_order(sources, terms):
        items.append(_item(source, read, joined, "SUM" if weighted else "MIN" if least else "") + beside)
        beside = ""
        if not source.images:
            looked_up.append((source.table, links))
    return " CROSS JOIN ".join(items), tuple(looked_up)


def in_order(sources: Sequence[Source], terms: Sequence[Expression]) -> Iterator[tuple[Source, tuple[str, ...]]]:
    """Each source with its columns that equalities with those before it give, images first; raises RefusedError."""
    waiting = list(sources)
    first = next(source for source in waiting if source.images)
    yield first, ()
    waiting.remove(first)
    bound = {first.index}
    while waiting:
        linked = [(source, links) for source in waiting if (links := _links(terms, source.index, bound))]
        if not linked:
            raise RefusedError(
                f"the join with {waiting[0].table}", "needs an equality with a column of the other tables"
            )
        following, links = max(linked, key=lambda pair: not pair[0].images)
        yield following, links
        bound.add(following.index)
        waiting.remove(following)


def _links(terms: Sequence[Expression], index: int, bound: set[int]) -> tuple[str, ...]:
    """Columns of a place that equalities with bound ones give, in name order."""
    return tuple(
        sorted(
            {
                name
                for name, other in equalities(tuple(terms), index)
                if other.occurrences() and other.occurrences() <= bound
            }
        )
    )


def _item(source: Source, read: Mapping[int, set[str]], joined: bool, weight: str) -> str:
    if not source.images:
        return f"{replica_name(source.table)} AS {source.alias}"
    columns = ", ".join(identifier(name) for name in sorted(read.get(source.index, ())))
    images = source.imaged
    if not joined or (not columns and not weight):
        return f"{images} AS {source.alias}"
    if not weight:
        return f"(SELECT DISTINCT {columns} FROM {images}) AS {source.alias}"
    if not columns:
        return f"(SELECT {weight}({WEIGHT}) AS {WEIGHT} FROM {images}) AS {source.alias}"
    return f"(SELECT {columns}, {weight}({WEIGHT}) AS {WEIGHT} FROM {images} GROUP BY {columns}) AS {source.alias}"
