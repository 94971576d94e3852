"""What a select() with GROUP BY may use: functions of a group's rows.

The examples of these have a value for each group, so they are run by the tests of grouping.
"""

from __future__ import annotations

from projector.compile.catalogue.entry import Entry

_SUMS = (
    "kept by signed differences in 64 bits: a sum beyond them stops the worker and names the group; Postgres goes on"
)
_VALUES = "of a group's distinct values, which are kept beside it"

AGGREGATES: tuple[Entry, ...] = (
    Entry(
        name="count",
        arguments="*, or anything",
        result="bigint",
        rule="a correlated subquery over no rows gives 0",
        examples=("func.count()", "func.count(c.t)", "func.count(c.f)", "func.count() * 2 + 1"),
    ),
    Entry(
        name="count distinct",
        arguments="anything that can be compared",
        result="bigint",
        rule=_VALUES,
        examples=(
            "func.count(c.i.distinct())", "func.count(c.t.distinct())", "func.count(c.b.distinct())",
            "func.count(c.mood.distinct())", "func.count(c.uuid.distinct())", "func.count(c.raw.distinct())",
            "func.count(c.tz.distinct())", "func.count(c.n.distinct())",
        ),
    ),
    Entry(
        name="sum",
        arguments="an integer",
        result="bigint, in Cassandra too",
        rule=f"{_SUMS}; of a bigint it is a numeric there",
        examples=(
            "func.sum(c.i)", "func.sum(c.small)", "func.sum(c.big // 1000)", "func.sum(case((c.b, 1), else_=0))",
            "func.coalesce(func.sum(c.i), 0)", "func.sum(c.i) - func.sum(c.j)",
        ),
    ),
    Entry(
        name="sum",
        arguments="numeric(p<=18, s)",
        result="numeric with the same scale",
        rule=_SUMS,
        examples=("func.sum(c.n)", "func.sum(c.fine)", "func.sum(c.whole)", "func.sum(case((c.b, c.n)))"),
    ),
    Entry(
        name="avg",
        arguments="an integer, numeric(p<=18, s)",
        result="numeric, as text until it is cast",
        rule="from the exact sum and count, with just the digits that Postgres gives",
        examples=(
            "func.avg(c.i)", "func.avg(c.small)", "func.avg(c.n)", "func.avg(c.fine)", "func.avg(c.whole)",
            "cast(func.avg(c.n), Numeric(18, 1))", "cast(func.avg(c.i), Numeric(18, 3))",
        ),
    ),
    Entry(
        name="min  max",
        arguments="integer, numeric(p<=18, s), date, time, timestamps; text in byte order",
        result="the same",
        rule=f"the first and last {_VALUES}",
        examples=(
            "func.min(c.i)", "func.max(c.small)", "func.max(c.big)", "func.min(c.n)", "func.max(c.fine)",
            "func.min(c.day)", "func.max(c.day)", "func.min(c.stamp)", "func.max(c.tz)", "func.min(c.clock)",
            'func.min(c.t.collate("C"))', 'func.max(c.t.collate("C"))',
        ),
    ),
    Entry(
        name="bool_and  bool_or  every",
        arguments="a condition",
        result="boolean, null over no value",
        examples=("func.bool_and(c.b)", "func.bool_or(c.b)", "func.every(c.i > 0)", "func.bool_or(c.t == 'a')"),
    ),
    Entry(
        name="FILTER (WHERE …)",
        arguments="any of these and a condition",
        result="that of the function",
        examples=(
            "func.count().filter(c.b)", "func.count(c.t).filter(c.i > 0)", "func.sum(c.n).filter(c.b)",
            "func.avg(c.i).filter(c.b2)", "func.max(c.day).filter(c.b)", "func.count(c.i.distinct()).filter(c.b)",
            "func.bool_and(c.b).filter(c.b2)",
        ),
    ),
)  # fmt: skip
