"""Whether a feed's copies and what readers merge with them are together its select(): refused at start-up otherwise.

A reader of a hot author's entries takes them from `pull`, for the authors that `following` names. That is the select() if

- its rows come from edges and entries, joined by the author, and nothing else of an edge matters to them;
- `pull` is the same select() without the edges: the same tables, joins, conditions and columns;
- `following` is all edges.

Compared is what the analysis makes of the three, so the order of joins' sides or labels make no difference; another way
to write the same is refused too.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table

from projector.compile.analyse import Analysis, analyse
from projector.compile.errors import RefusedError, RefusedModelError
from projector.compile.expression import Column, Expression, Operation, equalities, identifier
from projector.compile.pushed import FeedProgram
from projector.compile.relation import Occurrence


def check_feed(analysis: Analysis, feed: FeedProgram) -> None:
    """Raises RefusedModelError. analysis: of the copies (`projector.compile.pushed`)."""
    try:
        _check(analysis, feed)
    except RefusedError as error:
        raise RefusedModelError(feed.model, error) from error


def _check(analysis: Analysis, feed: FeedProgram) -> None:
    policy = feed.policy
    edges = _only(analysis, feed.edges)
    hot = _only(analysis, feed.hot.fullname)
    outputs = {output.name: output.expression for output in analysis.outputs}
    reader = outputs[analysis.model.partition_key[0]]
    if not (isinstance(reader, Column) and reader.occurrence == edges.index and reader.name == policy.edge_reader):
        raise RefusedError(
            f"fan_out.edge_reader {policy.edge_reader!r}", f"the reader must be this column of {feed.edges}"
        )
    author = outputs[policy.author]
    linked = [other for name, other in equalities(analysis.where, edges.index) if name == policy.edge_author]
    of_entries = [other for other in linked if edges.index not in other.occurrences()]
    if not of_entries:
        raise RefusedError(
            f"fan_out.edge_author {policy.edge_author!r}", f"join {feed.edges} to the entries by this column"
        )
    own = _Text(analysis, {edges.index, hot.index}, edges=edges, author=of_entries[0], name=policy.edge_author)
    if own.text(author) != own.text(of_entries[0]) or author.nullable:
        raise RefusedError(
            f"fan_out.author {policy.author!r}", f"must be the column that {feed.edges} is joined by, and NOT NULL"
        )
    pull = analyse(policy.pull)
    others = _Text(pull, set())
    wanted = {name: own.text(tree) for name, tree in outputs.items() if name != analysis.model.partition_key[0]}
    found = {output.name: others.text(output.expression) for output in pull.outputs}
    different = [name for name in wanted if wanted[name] != found.get(name)]
    if different:
        raise RefusedError(
            f"fan_out.pull {policy.pull.name!r}", f"computes {', '.join(different)} otherwise than the feed does"
        )
    if own.rows() != others.rows():
        raise RefusedError(
            f"fan_out.pull {policy.pull.name!r}",
            f"must have the feed's tables, joins and conditions, without {feed.edges}",
        )
    following = analyse(policy.following)
    names = {output.name: output.expression for output in following.outputs}
    ends = (names[following.key[0].name], policy.edge_reader), (names[policy.author], policy.edge_author)
    if (
        [o.table.fullname for o in following.occurrences] != [feed.edges]
        or following.where
        or any(not (isinstance(tree, Column) and tree.name == name) for tree, name in ends)
    ):
        raise RefusedError(f"fan_out.following {policy.following.name!r}", f"must be all rows of {feed.edges}")


def _only(analysis: Analysis, fullname: str) -> Occurrence:
    found = [o for o in analysis.occurrences if isinstance(o.table, Table) and o.table.fullname == fullname]
    if len(found) != 1 or (found[0].optional and not fullname.startswith("lockstep_feeds.")):
        raise RefusedError(f"fan_out.edges {fullname}", "must stand once in FROM, and not be LEFT JOINed")
    return found[0]


class _Text:
    """Trees of one select() as text in which its tables, and not their places in FROM, have names."""

    def __init__(
        self,
        analysis: Analysis,
        left_out: set[int],
        *,
        edges: Occurrence | None = None,
        author: Expression | None = None,
        name: str = "",
    ) -> None:
        """left_out: places that are not compared. author: what stands for the edges' column of this name."""
        self._analysis = analysis
        self._left_out = left_out
        self._edges, self._author, self._name = edges, author, name
        self._names: dict[int, str] = {}
        seen: dict[str, int] = {}
        for occurrence in analysis.occurrences:
            if occurrence.index not in left_out:
                table = occurrence.table.fullname
                seen[table] = seen.get(table, 0) + 1
                self._names[occurrence.index] = f"{table} {seen[table]}"

    def text(self, expression: Expression) -> str:
        """Raises RefusedError for a column of the edges that entries have no part in."""
        if isinstance(expression, Operation) and expression.equality:
            sides = sorted(self.text(side) for side in expression.arguments)
            return f"({' = '.join(sides)})"
        return expression.sql(self._column)

    def rows(self) -> tuple[list[tuple[str, bool, list[str]]], list[str]]:
        """(each table with its own condition if it is LEFT JOINed, the other conditions)."""
        tables = [
            (self._names[o.index], o.optional, sorted(map(self.text, o.on)))
            for o in self._analysis.occurrences
            if o.index in self._names
        ]
        return sorted(tables), sorted(self._conditions())

    def _conditions(self) -> Iterator[str]:
        for term in self._analysis.where:
            if self._edges is None:
                yield self.text(term)
                continue
            hot = self._left_out - {self._edges.index}
            if term.occurrences() & hot:
                continue
            text = self.text(term)
            if isinstance(term, Operation) and term.equality and len(set(map(self.text, term.arguments))) == 1:
                continue  # the join itself, both sides of which are the author
            yield text

    def _column(self, index: int, name: str) -> str:
        if self._edges is not None and index == self._edges.index:
            if name != self._name or self._author is None:
                raise RefusedError(
                    f"{self._edges.table.fullname}.{name}",
                    "a feed's rows may depend on the reader and the author of an edge only",
                )
            return self.text(self._author)
        return f"{identifier(self._names[index])}.{identifier(name)}"
