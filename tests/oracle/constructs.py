"""The constructs of SQL that the compile maintains, and which declared view has which.

What a select() says is read from its own clauses, what has become of it from the compiled program. The list is the
promise; `test_constructs` fails when one of it is in no view, so a view can't be lost without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table
from sqlalchemy.sql import elements, functions, operators, selectable, visitors

from projections.documents import Embedded
from projections.read_model import ReadModel
from projections.values import Kind
from projector.compile.expression import Column
from projector.compile.program import ModelProgram, compile_models
from projector.compile.relation import Grouped, Occurrence, unique_keys


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One read model, compiled. nodes: every clause of its select(), those of subqueries and documents too."""

    program: ModelProgram
    nodes: tuple[Any, ...]

    @property
    def groups(self) -> tuple[Grouped, ...]:
        """All groups behind the model."""
        return self.program.analysis.groups()

    @property
    def froms(self) -> list[tuple[Occurrence, ...]]:
        """The model's FROM and that of each group."""
        return [self.program.analysis.occurrences, *(group.occurrences for group in self.groups)]

    @property
    def grouped(self) -> list[Grouped]:
        """Groups that a GROUP BY of the model makes, without those that only serve them."""
        inner = {entries.fullname for group in self.groups for entries in (*group.entries, *group.partners.values())}
        return [group for group in self.groups if group.fullname not in inner]

    def calls(self, name: str) -> bool:
        """Whether a function is called."""
        return any(isinstance(n, functions.FunctionElement) and n.name.lower() == name for n in self.nodes)


def seen(program: ModelProgram) -> Seen:
    """A compiled model with its clauses."""
    return Seen(program=program, nodes=tuple(_nodes(program.model.select)))


def _nodes(clause: Any) -> Iterator[Any]:
    for node in visitors.iterate(clause):
        yield node
        if isinstance(node, Embedded):
            yield from _nodes(node.rows)


def _scalar(seen: Seen) -> bool:
    return any(isinstance(n, selectable.ScalarSelect) for n in seen.nodes)


def _subquery(seen: Seen) -> bool:
    return any(isinstance(n, selectable.Subquery) for n in seen.nodes)


def _documents(seen: Seen) -> list[Embedded]:
    return [n for n in seen.nodes if isinstance(n, Embedded)]


def _selects(seen: Seen) -> list[Select[Any]]:
    return [n for n in seen.nodes if isinstance(n, Select)]


def _left_grouped(seen: Seen, several: bool) -> bool:
    return any(
        o.optional and (o.index in group.partners) == several for group in seen.grouped for o in group.occurrences
    )


def _operator(seen: Seen, *wanted: Any) -> bool:
    return any(getattr(n, "operator", None) in wanted for n in seen.nodes)


def _tables(occurrences: Iterable[Occurrence]) -> list[str]:
    return [o.table.fullname for o in occurrences]


def _one_to_many(group: Grouped) -> bool:
    """Grouped by a table's whole key, with another table beside it."""
    keys = {(k.expression.occurrence, k.expression.name) for k in group.keys if isinstance(k.expression, Column)}
    return len(group.occurrences) > 1 and any(
        {(o.index, name) for name in unique_keys(o.table)[0]} <= keys for o in group.occurrences
    )


def _of_joined_table(group: Grouped) -> bool:
    return any(k.expression.occurrences() - {0} for k in group.keys)


CONSTRUCTS: dict[str, Callable[[Seen], bool]] = {
    # rows
    "one table": lambda s: not s.groups and len(s.program.analysis.occurrences) == 1,
    "WHERE": lambda s: any(select.whereclause is not None for select in _selects(s)),
    "OR and NOT": lambda s: _operator(s, operators.or_, operators.inv),
    "IN": lambda s: _operator(s, operators.in_op, operators.not_in_op),
    "BETWEEN": lambda s: _operator(s, operators.between_op, operators.not_between_op),
    "LIKE": lambda s: _operator(s, operators.like_op, operators.not_like_op),
    "IS NULL": lambda s: _operator(s, operators.is_, operators.is_not),
    "IS DISTINCT FROM": lambda s: _operator(s, operators.is_distinct_from, operators.is_not_distinct_from),
    "computed column": lambda s: any(not isinstance(o.expression, Column) for o in s.program.analysis.outputs),
    "computed key": lambda s: any(not isinstance(o.expression, Column) for o in s.program.analysis.key),
    "descending key": lambda s: "DESC" in repr(s.program.model.clustering_key).upper(),
    "CASE": lambda s: any(isinstance(n, elements.Case) for n in s.nodes),
    "CAST": lambda s: any(isinstance(n, elements.Cast) for n in s.nodes),
    "EXTRACT": lambda s: any(isinstance(n, elements.Extract) for n in s.nodes),
    "date_trunc": lambda s: s.calls("date_trunc"),
    "coalesce": lambda s: s.calls("coalesce"),
    # joins
    "inner join N:1": lambda s: not s.groups and len(s.program.analysis.occurrences) == 2,
    "join over three tables": lambda s: any(len(occurrences) >= 3 for occurrences in s.froms),
    "self join": lambda s: any(len(set(names)) < len(names) for names in map(_tables, s.froms)),
    "join by a composite key": lambda s: any(
        len(lookup.columns) > 1 and isinstance(lookup.occurrence.table, Table) for lookup in s.program.lookups
    ),
    "join in WHERE": lambda s: len(s.program.model.select.get_final_froms()) > 1,
    "left join": lambda s: any(o.optional and isinstance(o.table, Table) for o in s.program.analysis.occurrences),
    "left join chain": lambda s: any(
        o.optional and any(occurrences[i].optional for term in o.on for i in term.occurrences() - {o.index})
        for occurrences in s.froms
        for o in occurrences
    ),
    "left join with own conditions": lambda s: any(len(o.on) > 1 for f in s.froms for o in f if o.optional),
    "key on a nullable side": lambda s: any(
        s.program.analysis.occurrences[i].optional for o in s.program.analysis.key for i in o.expression.occurrences()
    ),
    "anti-join": lambda s: any(
        isinstance(t.arguments[0], Column) and s.program.analysis.occurrences[t.arguments[0].occurrence].optional
        for t in s.program.analysis.where
        if "IS NULL" in getattr(t, "template", "")
    ),
    # groups
    "GROUP BY one table": lambda s: (
        bool(s.program.model.select._group_by_clauses) and len(s.grouped[-1].occurrences) == 1
    ),
    "GROUP BY over N:1": lambda s: any(_of_joined_table(group) for group in s.grouped),
    "GROUP BY over 1:N": lambda s: any(_one_to_many(group) for group in s.grouped),
    "GROUP BY over a left join that finds one": lambda s: _left_grouped(s, False),
    "GROUP BY over a left join that finds several": lambda s: _left_grouped(s, True),
    "GROUP BY over a self join": lambda s: any(
        len(set(names)) < len(names) for names in (_tables(group.occurrences) for group in s.grouped)
    ),
    "GROUP BY with WHERE": lambda s: any(group.where for group in s.grouped),
    "GROUP BY several": lambda s: any(len(group.keys) > 1 for group in s.grouped),
    "GROUP BY a computed key": lambda s: any(
        not isinstance(key.expression, Column) for group in s.grouped for key in group.keys
    ),
    "GROUP BY a boolean": lambda s: any(
        key.expression.type.kind is Kind.BOOLEAN for group in s.grouped for key in group.keys
    ),
    "GROUP BY a nullable column": lambda s: any(key.expression.nullable for group in s.grouped for key in group.keys),
    "count(*)": lambda s: any(
        isinstance(n, functions.count) and getattr(next(iter(n.clauses)), "name", None) == "*" for n in s.nodes
    ),
    "count(column)": lambda s: any(
        isinstance(n, functions.count)
        and isinstance(next(iter(n.clauses)), elements.ColumnClause)
        and n.clauses.clauses[0].name != "*"
        for n in s.nodes
    ),
    "count(DISTINCT)": lambda s: any(group.distincts for group in s.groups),
    "sum": lambda s: s.calls("sum"),
    "avg": lambda s: s.calls("avg"),
    "min": lambda s: s.calls("min"),
    "max": lambda s: s.calls("max"),
    "bool_and": lambda s: s.calls("bool_and"),
    "bool_or": lambda s: s.calls("bool_or"),
    "FILTER": lambda s: any(isinstance(n, elements.FunctionFilter) for n in s.nodes),
    "CASE in an aggregate": lambda s: any(
        isinstance(part, elements.Case)
        for n in s.nodes
        if isinstance(n, functions.FunctionElement) and n.name in ("sum", "count", "avg", "min", "max")
        for part in visitors.iterate(n)
    ),
    "aggregate of several tables' columns": lambda s: any(
        len(measure.expression.occurrences()) > 1 for group in s.groups for measure in group.measures
    ),
    "HAVING": lambda s: any(select._having_criteria for select in _selects(s)),
    # groups beside rows
    "join with a grouped subquery": lambda s: (
        _subquery(s) and any(isinstance(o.table, Grouped) and not o.optional for o in s.program.analysis.occurrences)
    ),
    "left join with a grouped subquery": lambda s: (
        _subquery(s) and any(isinstance(o.table, Grouped) and o.optional for o in s.program.analysis.occurrences)
    ),
    "one grouped subquery twice": lambda s: any(
        len(set(names)) < len(names)
        for names in [[o.table.fullname for o in s.program.analysis.occurrences if isinstance(o.table, Grouped)]]
    ),
    "rows beside their own group": lambda s: any(
        isinstance(o.table, Grouped)
        and set(_tables(o.table.occurrences)) & set(_tables(s.program.analysis.occurrences))
        for o in s.program.analysis.occurrences
    ),
    "group of groups": lambda s: any(isinstance(o.table, Grouped) for group in s.grouped for o in group.occurrences),
    "correlated subquery": _scalar,
    "correlated by several columns": lambda s: (
        _scalar(s) and any(isinstance(o.table, Grouped) and len(o.on) > 1 for o in s.program.analysis.occurrences)
    ),
    "correlated subquery in a condition": lambda s: any(
        isinstance(n, selectable.ScalarSelect)
        for select in _selects(s)
        if select.whereclause is not None
        for n in visitors.iterate(select.whereclause)
    ),
    # documents
    "document": lambda s: bool(_documents(s)),
    "document over a join": lambda s: any(
        isinstance(element, selectable.Join) for d in _documents(s) for element in d.rows.get_final_froms()
    ),
    "two documents": lambda s: len({id(document.rows) for document in _documents(s)}) > 1,
    "document beside an aggregate": lambda s: bool(_documents(s)) and (_scalar(s) or _subquery(s)),
}


def covering(models: Iterable[ReadModel]) -> dict[str, list[str]]:
    """Construct to the names of the models that have it."""
    found: dict[str, list[str]] = {name: [] for name in CONSTRUCTS}
    for model in models:
        (program,) = compile_models([model]).models
        has = seen(program)
        for name, test in CONSTRUCTS.items():
            if test(has):
                found[name].append(model.name)
    return found
