"""Functions and operators on text and varchar; char(n) and enums are cast to text first."""

from __future__ import annotations

from projector.compile.catalogue.entry import Entry

TEXTS = (
    Entry(
        name="||",
        arguments="text",
        result="text",
        rule="null when any part is; cast numbers to text",
        examples=("c.t + '-' + c.t2", "c.t + cast(c.i, Text)", "c.t.concat(c.short)"),
    ),
    Entry(
        name="LIKE  NOT LIKE",
        arguments="text and a constant pattern",
        result="boolean",
        rule="case counts; ESCAPE is one character; the pattern must not end with it",
        examples=(
            "c.t.like('a%')", "c.t.like('_')", "c.t.like('%é_%')", "c.t.like('%\\\\%%')", "c.t.like('%#_%', escape='#')",
            'c.t.like("%\'%", escape="!")', "c.t.like('__')", "c.t.not_like('%a%')",
        ),
    ),
    Entry(
        name="lower  upper",
        arguments='text under COLLATE "C", "POSIX" or "ucs_basic"',
        result="text",
        rule="ASCII's letters only, as these collations say",
        examples=(
            "func.lower(c.t.collate('C'), type_=Text)", "func.upper(c.t.collate('C'), type_=Text)",
            "func.lower(c.t.collate('POSIX'), type_=Text)", "func.lower(c.t.collate('ucs_basic'), type_=Text)",
        ),
    ),
    Entry(
        name="length  char_length",
        arguments="text",
        result="integer",
        rule="characters (code points), not bytes",
        examples=(
            "func.length(c.t, type_=Integer)", "func.char_length(c.t, type_=Integer)",
            "func.length(c.short, type_=Integer)",
        ),
    ),
)  # fmt: skip
