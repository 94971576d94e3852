"""Conditions: what WHERE, ON and CASE take."""

from __future__ import annotations

from projector.compile.catalogue.entry import Entry

COMPARISONS = (
    Entry(
        name="=  <>",
        arguments="two of one kind; integer and numeric meet",
        result="boolean",
        rule="text and enums by their characters, under any deterministic collation",
        examples=(
            "c.i == c.j", "c.i != c.j", "c.big == c.i", "c.n == c.i", "c.whole == c.i", "c.i != c.n", "c.n != c.fine",
            "c.n == c.fine", "c.t == c.t2", "c.t != c.t2", "c.mood == 'ok'", "c.mood != 'ok'", "c.b == c.b2",
            "c.b != c.b2", "c.b == true()", "c.b != true()", "c.i == c.n", "c.n != c.i", "c.uuid == c.uuid2", "c.uuid != c.uuid2", "c.raw == c.raw2", "c.raw != c.raw2",
            "c.day == c.day2", "c.day != c.day2", "c.stamp == c.stamp2", "c.stamp != c.stamp2", "c.tz == c.tz2",
            "c.tz != c.tz2", "c.clock == c.clock2", "c.clock != c.clock2", "cast(c.uuid, Text) == c.t",
        ),
    ),
    Entry(
        name="<  <=  >  >=",
        arguments="two of one kind, not boolean; integer and numeric meet; text and uuid see the rule",
        result="boolean",
        rule='text by its bytes, under COLLATE "C", "POSIX", "ucs_basic" or "pg_c_utf8" only; infinity is after every date',
        examples=(
            "c.i < c.j", "c.i <= c.j", "c.i > c.j", "c.i >= c.j", "c.small < c.big", "c.n > c.fine", "c.n < c.fine",
            "c.n <= c.fine", "c.n >= c.fine", "c.n < Decimal('1.005')", "c.i <= literal(Decimal('0.5'))", "c.i < c.n",
            "c.i > c.n", "c.i >= c.n", "c.n < c.i", "c.n <= c.i", "c.n > c.i", "c.n >= c.i",
            "c.t.collate('C') < c.t2", "c.t.collate('C') <= c.t2", "c.t.collate('POSIX') > c.t2",
            "c.t.collate('ucs_basic') >= c.t2", "c.t.collate('pg_c_utf8') < c.t2",
            "c.uuid < c.uuid2", "c.uuid <= c.uuid2", "c.uuid > c.uuid2", "c.uuid >= c.uuid2",
            "c.raw < c.raw2", "c.raw <= c.raw2", "c.raw > c.raw2", "c.raw >= c.raw2",
            "c.day < c.day2", "c.day <= c.day2", "c.day > c.day2", "c.day >= c.day2", "c.day < cast(c.tz, Date)",
            "c.stamp < c.stamp2", "c.stamp <= c.stamp2", "c.stamp > c.stamp2", "c.stamp >= c.stamp2",
            "c.stamp < cast(c.tz, DateTime())", "c.tz < c.tz2", "c.tz <= c.tz2", "c.tz > c.tz2", "c.tz >= c.tz2",
            "c.clock < c.clock2", "c.clock <= c.clock2", "c.clock > c.clock2", "c.clock >= c.clock2",
        ),
    ),
    Entry(
        name="IS DISTINCT FROM  IS NOT DISTINCT FROM",
        arguments="two that = takes",
        result="boolean, never null",
        examples=(
            "c.i.is_distinct_from(c.j)", "c.i.is_not_distinct_from(c.j)", "c.i.is_distinct_from(c.n)",
            "c.i.is_not_distinct_from(c.n)", "c.n.is_distinct_from(c.fine)", "c.n.is_not_distinct_from(c.fine)",
            "c.n.is_distinct_from(c.i)", "c.n.is_not_distinct_from(c.i)", "c.t.is_distinct_from(c.t2)",
            "c.t.is_not_distinct_from(c.t2)", "c.mood.is_distinct_from('ok')", "c.mood.is_not_distinct_from('ok')",
            "c.b.is_distinct_from(c.b2)", "c.b.is_not_distinct_from(c.b2)", "c.uuid.is_distinct_from(c.uuid2)",
            "c.uuid.is_not_distinct_from(c.uuid2)", "c.raw.is_distinct_from(c.raw2)", "c.raw.is_not_distinct_from(c.raw2)",
            "c.day.is_distinct_from(c.day2)", "c.day.is_not_distinct_from(c.day2)", "c.stamp.is_distinct_from(c.stamp2)",
            "c.stamp.is_not_distinct_from(c.stamp2)", "c.tz.is_distinct_from(c.tz2)", "c.tz.is_not_distinct_from(c.tz2)",
            "c.clock.is_distinct_from(c.clock2)", "c.clock.is_not_distinct_from(c.clock2)",
            *(
                f"c.{column}.{test}(None)"
                for column in ("i", "n", "t", "mood", "b", "day", "stamp", "tz", "clock", "uuid", "raw")
                for test in ("is_distinct_from", "is_not_distinct_from")
            ),
        ),
    ),
    Entry(
        name="BETWEEN  NOT BETWEEN",
        arguments="three that < takes",
        result="boolean",
        examples=(
            "c.i.between(c.j, 7)", "not_(c.i.between(c.j, 7))", "c.t.collate('C').between('a', 'é')",
            "not_(c.t.collate('C').between('a', 'é'))", "c.n.between(c.fine, 7)", "not_(c.n.between(c.fine, 7))",
            "c.i.between(c.n, c.fine)", "c.n.between(c.i, c.j)",
            "c.day.between(c.day2, date(2024, 2, 29))", "not_(c.day.between(c.day2, date(2024, 2, 29)))",
            "c.stamp.between(c.stamp2, datetime(2024, 2, 29))", "not_(c.stamp.between(c.stamp2, datetime(2024, 2, 29)))",
            "c.tz.between(c.tz2, datetime(2024, 2, 29, tzinfo=UTC))",
            "not_(c.tz.between(c.tz2, datetime(2024, 2, 29, tzinfo=UTC)))",
            "c.clock.between(c.clock2, time(12))", "not_(c.clock.between(c.clock2, time(12)))",
            "c.uuid.between(c.uuid2, UUID(int=1 << 127))", "not_(c.uuid.between(c.uuid2, UUID(int=1 << 127)))",
            "c.raw.between(c.raw2, b'a')", "not_(c.raw.between(c.raw2, b'a'))",
        ),
    ),
    Entry(
        name="IN  NOT IN",
        arguments="one that = takes, and constants",
        result="boolean",
        rule="at least one constant, none of them null",
        examples=(
            "c.i.in_([0, 1, 7])", "c.i.not_in([0, 1, 7])", "c.n.in_([Decimal(0), Decimal('0.5')])",
            "c.n.not_in([Decimal(0), Decimal('0.5')])", "c.t.in_(['a', '', 'é'])", "c.t.not_in(['a', 'b'])",
            "c.mood.in_(['sad', 'ok'])", "c.mood.not_in(['sad', 'ok'])", "c.b.in_([True])", "c.b.not_in([True])",
            "c.uuid.in_([UUID(int=0)])", "c.uuid.not_in([UUID(int=0)])", "c.raw.in_([b'', b'a'])",
            "c.raw.not_in([b'', b'a'])", "c.day.in_([date(2024, 2, 29)])", "c.day.not_in([date(2024, 2, 29)])",
            "c.stamp.in_([datetime(2024, 2, 29)])", "c.stamp.not_in([datetime(2024, 2, 29)])",
            "c.tz.in_([datetime(2024, 2, 29, tzinfo=UTC)])", "c.tz.not_in([datetime(2024, 2, 29, tzinfo=UTC)])",
            "c.clock.in_([time(12)])", "c.clock.not_in([time(12)])",
        ),
    ),
    Entry(
        name="IS NULL  IS NOT NULL",
        arguments="anything",
        result="boolean, never null",
        examples=tuple(
            f"c.{column}.{test}(None)"
            for column in (
                "i", "n", "free", "f", "t", "code", "mood", "b", "day", "stamp", "tz", "clock", "uuid", "raw", "doc",
                "tags", "span",
            )
            for test in ("is_", "is_not")
        ),
    ),
    Entry(
        name="IS TRUE  IS FALSE  IS NOT TRUE  IS NOT FALSE",
        arguments="boolean",
        result="boolean, never null",
        examples=("c.b.is_(True)", "c.b.is_(False)", "c.b.is_not(True)", "c.b.is_not(False)"),
    ),
    Entry(
        name="AND  OR  NOT",
        arguments="booleans",
        result="boolean",
        examples=(
            "and_(c.b, c.b2)", "or_(c.b, c.b2)", "not_(c.b)", "not_(and_(c.b, c.b2))", "not_(or_(c.b, c.i == 1))", "true()", "false()",
        ),
    ),
)  # fmt: skip
