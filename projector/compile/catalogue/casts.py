"""Casts whose result is Postgres's to the last digit."""

from __future__ import annotations

from projector.compile.catalogue.entry import Entry

CASTS = (
    Entry(
        name="between integers",
        arguments="smallint, integer, bigint",
        result="the same",
        rule="out of range stops the worker; Postgres fails on the row too",
        examples=(
            "cast(c.big, Integer)", "cast(c.i, SmallInteger)", "cast(c.small, BigInteger)", "cast(c.i, Integer)",
            "cast(c.small, Integer)", "cast(c.big, SmallInteger)",
        ),
    ),
    Entry(
        name="numbers to numeric(p<=18, s)",
        arguments="integer, numeric",
        result="numeric(p, s)",
        rule="half away from zero; more digits than p stop the worker, as in Postgres",
        examples=(
            "cast(c.i, Numeric(12, 2))", "cast(c.fine, Numeric(10, 1))", "cast(c.fine, Numeric(3, 0))",
            "cast(c.n, Numeric(15, 5))", "cast(c.big, Numeric(18, 0))",
        ),
    ),
    Entry(
        name="numeric to an integer",
        arguments="numeric(p<=18, s)",
        result="smallint, integer, bigint",
        rule="half away from zero",
        examples=("cast(c.n, Integer)", "cast(c.n, SmallInteger)", "cast(c.fine, BigInteger)"),
    ),
    Entry(
        name="to text",
        arguments="integer, numeric(p<=18, s), boolean, uuid, date, text, varchar",
        result="text",
        rule="a date as DateStyle=ISO prints it",
        examples=(
            "cast(c.i, Text)", "cast(c.big, Text)", "cast(c.n, Text)", "cast(c.whole, Text)", "cast(c.b, Text)",
            "cast(c.uuid, Text)", "cast(c.day, Text)", "cast(c.t, Text)", "cast(c.short, Text)", "cast(c.mood, Text)",
        ),
    ),
    Entry(name="boolean to integer", arguments="boolean", result="integer", examples=("cast(c.b, Integer)",)),
    Entry(
        name="dates and timestamps",
        arguments="date, timestamp, timestamptz",
        result="each other",
        rule="under TimeZone=UTC; infinity stays",
        examples=(
            "cast(c.stamp, Date)", "cast(c.tz, Date)", "cast(c.day, DateTime())", "cast(c.day, DateTime(timezone=True))",
            "cast(c.stamp, DateTime(timezone=True))", "cast(c.tz, DateTime())", "cast(c.stamp, DateTime())",
            "cast(c.tz, DateTime(timezone=True))",
        ),
    ),
    Entry(
        name="to its own type",
        arguments="anything",
        result="the same",
        examples=(
            "cast(c.b, Boolean)", "cast(c.day, Date)", "cast(c.clock, Time())", "cast(c.uuid, Uuid())",
            "cast(c.raw, LargeBinary())", "cast(c.f, Double())", "cast(c.free, Numeric)", "cast(c.doc, JSONB)", "cast(c.tags, ARRAY(Integer))",
            "cast(c.span, Interval)",
        ),
    ),
)  # fmt: skip
