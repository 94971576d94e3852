"""Arithmetic on integers, numerics and dates, and the choice of a value."""

from __future__ import annotations

from projector.compile.catalogue.entry import Entry

_EXACT = "numeric(p<=18, s) is exact; a result beyond 64 bits stops the worker, where Postgres goes on"
_KINDS = ("i", "t", "mood", "b", "uuid", "raw", "day", "stamp", "tz", "clock")
_PASSED = ("f", "free", "code", "doc", "tags", "span")

COMPUTATIONS = (
    Entry(
        name="+  -  *",
        arguments="integers",
        result="the wider integer",
        rule="out of its range stops the worker; Postgres fails on the row too",
        examples=(
            "c.i + c.j", "c.i - c.j", "c.i * c.j", "c.big + c.i", "c.big * c.i", "cast(c.small, Integer) + c.i",
            "c.i + c.j + 1 - c.i * 2",
        ),
    ),
    Entry(
        name="+  -  *",
        arguments="numeric and numeric or integer",
        result="numeric, the scale as in Postgres",
        rule=_EXACT,
        examples=(
            "cast(c.n + c.fine, Numeric(18, 4))", "cast(c.n - c.fine, Numeric(18, 4))",
            "cast(c.i + c.n, Numeric(18, 4))", "cast(c.n + c.i, Numeric(18, 4))", "cast(c.i - c.n, Numeric(18, 4))",
            "cast(c.n - c.i, Numeric(18, 4))", "cast(c.n * c.small, Numeric(18, 4))",
            "cast(c.small * c.n, Numeric(18, 4))",
            "cast(cast(c.n, Numeric(7, 2)) * cast(c.fine, Numeric(7, 2)), Numeric(18, 4))",
        ),
    ),
    Entry(
        name="/  %",
        arguments="an integer and a constant other than 0",
        result="integer",
        rule="toward zero; the remainder has the dividend's sign",
        examples=("c.i // 7", "c.i // -1", "c.big // 3", "c.i % 7", "c.i % -1"),
    ),
    Entry(
        name="-  abs",
        arguments="an integer or numeric",
        result="the same",
        rule="out of range stops the worker; Postgres fails on the row too",
        examples=(
            "-c.i", "-c.small", "-c.big", "-c.n", "func.abs(c.i, type_=Integer)", "func.abs(c.small, type_=SmallInteger)",
            "func.abs(c.big, type_=BigInteger)", "func.abs(c.n, type_=Numeric(12, 2))",
        ),
    ),
    Entry(
        name="date + integer  date - integer  date - date",
        arguments="dates and days",
        result="date, or an integer number of days",
        rule="infinity stays; infinite dates can't be subtracted, in Postgres neither",
        examples=("c.day + c.small", "c.day - c.small", "cast(c.day - c.day2, Integer)"),
    ),
    Entry(
        name="coalesce",
        arguments="any number of one kind; integer and numeric meet",
        result="theirs",
        rule="floats, json, arrays, intervals and char(n) alone only",
        examples=(
            "func.coalesce(c.i, c.j, 0)", "func.coalesce(c.t, 'none')", "func.coalesce(c.b, c.b2)",
            "func.coalesce(c.uuid, c.uuid2)", "func.coalesce(c.raw, c.raw2)", "func.coalesce(c.day, c.day2)",
            "func.coalesce(c.stamp, c.stamp2)", "func.coalesce(c.tz, c.tz2)", "func.coalesce(c.clock, c.clock2)",
            "func.coalesce(c.mood, 'ok')", "cast(func.coalesce(c.n, c.fine), Numeric(18, 4))",
            "cast(func.coalesce(c.n, c.i), Numeric(18, 4))", "cast(func.coalesce(c.i, c.n), Numeric(18, 4))",
            *(f"func.coalesce(c.{name})" for name in (*_KINDS, "n", *_PASSED) if name != "free"),
        ),
    ),
    Entry(
        name="nullif",
        arguments="two that = takes",
        result="the first's",
        examples=(
            "func.nullif(c.i, c.j, type_=Integer)", "func.nullif(c.t, '', type_=Text)",
            "func.nullif(c.b, c.b2, type_=Boolean)", "func.nullif(c.uuid, c.uuid2, type_=Uuid())",
            "func.nullif(c.raw, c.raw2, type_=LargeBinary())", "func.nullif(c.day, c.day2, type_=Date)",
            "func.nullif(c.stamp, c.stamp2, type_=DateTime())",
            "func.nullif(c.tz, c.tz2, type_=DateTime(timezone=True))", "func.nullif(c.clock, c.clock2, type_=Time())",
            "cast(func.nullif(c.n, c.fine, type_=Numeric(12, 2)), Numeric(18, 4))",
            "cast(func.nullif(c.n, c.i, type_=Numeric(12, 2)), Numeric(18, 4))",
            "cast(func.nullif(c.i, c.n, type_=Numeric(12, 2)), Numeric(18, 4))",
            "cast(func.nullif(c.mood, 'ok', type_=c.mood.type), Text)",
            "cast(func.nullif(c.mood, c.mood, type_=c.mood.type), Text)",
        ),
    ),
    Entry(
        name="CASE",
        arguments="conditions, or a value and what it may equal; results as for coalesce",
        result="theirs",
        examples=(
            "case((c.i > 0, 'up'), (c.i < 0, 'down'), else_='flat')", "case((c.b, c.i), (c.b2, c.j))",
            "case({1: 'one', 0: 'zero'}, value=c.i)", "case({'a': 1, '': 0}, value=c.t, else_=2)",
            "cast(case((c.b, c.n), else_=c.fine), Numeric(18, 4))", "cast(case((c.b, c.n), else_=c.i), Numeric(18, 4))",
            *(f"case((c.b, c.{name}))" for name in (*_KINDS, "n", *_PASSED) if name != "free"),
        ),
    ),
)  # fmt: skip
