"""A read model in words and SQL: what a change of each source table looks up and writes. For people, not for parsing."""

from __future__ import annotations

from collections.abc import Iterator

from projections.fan_out import hot_table, skipped_table
from projector.compile.expression import Expression
from projector.compile.group_program import GroupProgram
from projector.compile.program import ModelProgram, Program
from projector.compile.pushed import FeedProgram
from projector.compile.touch import TouchStatement


def explain(program: Program, model: ModelProgram) -> str:
    """Text of several lines."""
    return "\n".join(_lines(program, model))


def _lines(program: Program, model: ModelProgram) -> Iterator[str]:
    analysis = model.analysis
    yield f"read model {model.model.name}"
    yield "  one row a key: " + ", ".join(model.model.key)
    yield "  the key finds its row by: " + ", then ".join(
        f"{lookup.occurrence.table.fullname}({', '.join(lookup.columns)})" for lookup in model.lookups
    )
    if model.feed is not None:
        yield from _feed_lines(model, model.feed)
    used = {table.fullname for table in analysis.source_tables()}
    for table in program.tables.values():
        if table.fullname not in used:
            continue
        yield ""
        what = "hot authors" if model.feed is not None and table.fullname == model.feed.hot.fullname else "source table"
        yield f"{what} {table.name}: the replica keeps {', '.join(table.columns)}"
        for index in table.indexes:
            yield f"  index ({', '.join(index)})"
        for statement in model.touch:
            if table.fullname in statement.tables:
                looked_up = ", ".join(f"{name} by ({', '.join(columns)})" for name, columns in statement.looked_up)
                together = sorted(statement.tables - {table.fullname})
                yield f"  a change{' together with ' + ', '.join(together) if together else ''} looks up {looked_up or 'nothing'}:"
                yield f"    {statement.sql}"
                yield from _waits(model, statement)
    for group in (group for group in program.groups if group.name in {g.fullname for g in analysis.groups()}):
        yield from _group_lines(group)
        for statement in model.touch:
            if group.name in statement.tables:
                yield "  a touched group touches:"
                yield f"    {statement.sql}"
                yield from _waits(model, statement)
    yield ""
    yield "each touched key is then written whole:"
    yield f"    {model.recompute.present}"
    yield "or deleted, when it has no row:"
    yield f"    {model.recompute.absent}"


def _feed_lines(model: ModelProgram, feed: FeedProgram) -> Iterator[str]:
    """The policies of a feed, and what each publishes."""
    policy, name = feed.policy, model.model.name
    yield (
        f"  a feed: entries of an author ({policy.author}) with {policy.threshold:,} rows of {feed.edges} or more are not copied,"
        f" until there are fewer than {policy.threshold * policy.back:,.10g}"
    )
    yield f"    readers find such authors in {hot_table(name)}, their entries in {policy.pull.name}, and whom they read in"
    yield f"    {policy.following.name}; becoming hot deletes the author's copies, and the way back writes them, in slices"
    if (active := policy.active) is not None:
        yield (
            f"  readers whose {active.table.fullname}.{active.seen} is more than {active.within} before an entry get no copies;"
            f" {skipped_table(name)} names them"
        )
    if policy.cap is not None:
        yield f"  a reader's newest {policy.cap:,} copies are kept"


def _waits(model: ModelProgram, statement: TouchStatement) -> Iterator[str]:
    if statement.budget is not None:
        columns = ", ".join(model.model.budgets)
        yield f"    it changes nothing but {columns}, and waits up to {statement.budget.total_seconds():g} s for others like it"


def _group_lines(group: GroupProgram) -> Iterator[str]:
    yield ""
    yield f"state of each group, {group.name!r}:"

    def text(expression: Expression) -> str:
        return expression.sql(lambda index, name: f"{group.group.occurrences[index].alias}.{name}")

    yield "  rows of " + ", ".join(f"{o.table.fullname} as {o.alias}" for o in group.group.occurrences)

    for key in group.group.keys:
        yield f"  {key.name}: grouped by {text(key.expression)}"
    for measure in group.group.measures:
        yield f"  {measure.name}: sum of {text(measure.expression)}"
    for extreme in group.group.extremes:
        yield f"  {extreme.name}: the {'last' if extreme.last else 'first'} of {extreme.entries.fullname!r}"
    for distinct in group.group.distincts:
        yield f"  {distinct.name}: the number of {distinct.entries.fullname!r}"
    for delta in group.statements:
        yield f"  a change of {' and '.join(sorted(delta.tables))} adds to it:"
        yield f"    {delta.sql}"
