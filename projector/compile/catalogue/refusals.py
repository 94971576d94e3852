"""What is refused at start-up, by name, because Postgres's answer can't be promised."""

from __future__ import annotations

from projector.compile.catalogue.entry import Refusal

_COLLATION = "its answer depends on the collation, and so on one server's library version"
_FLOAT = "floats round differently in another order or library"
_INSTEAD_OF_FLOAT = "numeric(p, s) columns"

REFUSALS = (
    Refusal(
        name="order of text",
        reason=_COLLATION,
        instead='x.collate("C") < y',
        example="c.t < c.t2",
    ),
    Refusal(
        name="lower, upper", reason=_COLLATION, instead='lower(x.collate("C"))', example="func.lower(c.t, type_=Text)"
    ),
    Refusal(
        name="lower, upper under pg_c_utf8",
        reason="it knows the case of every letter, in the tables of one server's version",
        instead='lower(x.collate("C"))',
        example="func.lower(c.t.collate('pg_c_utf8'), type_=Text)",
    ),
    Refusal(name="ILIKE", reason=_COLLATION, instead='lower(x.collate("C")).like(…)', example="c.t.ilike('a%')"),
    Refusal(
        name="regular expressions",
        reason="their classes depend on the collation",
        instead="LIKE",
        example="c.t.regexp_match('^a')",
    ),
    Refusal(
        name="LIKE with a pattern that is no constant",
        reason="a pattern of a row may end in its escape, where Postgres fails",
        instead="a constant pattern",
        example="c.t.like(c.t2)",
    ),
    Refusal(
        name="char(n) in comparisons",
        reason="it ignores trailing spaces",
        instead="varchar or text columns",
        example="c.code == c.t",
    ),
    Refusal(
        name="char(n) in functions",
        reason="some take its trailing spaces away",
        instead="varchar or text columns",
        example="func.lower(c.code.collate('C'), type_=Text)",
    ),
    Refusal(
        name="order of an enum", reason="it is that of its declaration", instead="equality", example="c.mood < 'ok'"
    ),
    Refusal(name="order of booleans", reason="it is rarely meant", instead="x, not_(x), x == y", example="c.b < c.b2"),
    Refusal(name="arithmetic with floats", reason=_FLOAT, instead=_INSTEAD_OF_FLOAT, example="c.f + c.f"),
    Refusal(name="comparison of floats", reason=_FLOAT, instead=_INSTEAD_OF_FLOAT, example="c.f.is_distinct_from(c.f)"),
    Refusal(name="float constants", reason="they are not exact", instead="decimal.Decimal", example="c.n * 0.1"),
    Refusal(
        name="numeric without precision, or with more than 18 digits",
        reason="it does not fit 64 bits",
        instead="numeric(p<=18, s)",
        example="c.free + c.i",
    ),
    Refusal(
        name="division of numerics",
        reason="its scale depends on the values",
        instead="// on integers, or store the quotient",
        example="c.n / c.fine",
    ),
    Refusal(
        name="a divisor that is no constant", reason="it may be 0", instead="a constant divisor", example="c.i // c.j"
    ),
    Refusal(
        name="round, trunc, floor, ceil, power, sqrt",
        reason="not taken in yet",
        instead="a cast to numeric(p, s) rounds",
        example="func.round(c.n, 1, type_=Numeric(12, 1))",
    ),
    Refusal(name="now(), current_date", reason="time passes without a change in the log", example="c.tz < func.now()"),
    Refusal(name="random()", reason="it has no answer that could be equal", example="c.i < func.random()"),
    Refusal(
        name="timestamps ± intervals",
        reason="months and days have no fixed length",
        instead="date ± days",
        example="c.stamp + c.span",
    ),
    Refusal(
        name="extract of second, epoch, century and others",
        reason="they are fractions, or not taken in yet",
        instead="date_trunc('second', x)",
        example="extract('epoch', c.tz)",
    ),
    Refusal(
        name="date_trunc in another zone",
        reason="its rules change with the server's time zone data",
        instead="UTC",
        example="func.date_trunc('day', c.tz, 'Europe/Berlin', type_=DateTime(timezone=True))",
    ),
    Refusal(
        name="date_trunc of a date",
        reason="it is a timestamptz of the session's zone",
        instead="date_trunc of cast(x, DateTime())",
        example="func.date_trunc('month', c.day, type_=DateTime(timezone=True))",
    ),
    Refusal(
        name="timestamps to text",
        reason="how they print is a session's setting",
        instead="the timestamp itself",
        example="cast(c.tz, Text)",
    ),
    Refusal(
        name="text to numbers, dates, uuid",
        reason="a row that does not parse fails",
        instead="a typed column",
        example="cast(c.t, Integer)",
    ),
    Refusal(
        name="casts to varchar(n), timestamp(p)",
        reason="they cut the value",
        instead="Text, DateTime",
        example="cast(c.t, String(3))",
    ),
    Refusal(
        name="operators of json, arrays, intervals",
        reason="these values pass through unread",
        instead="typed columns",
        example="c.doc['a'].astext",
    ),
)
