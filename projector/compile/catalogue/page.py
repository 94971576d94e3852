"""The catalogue as text: docs/functions.md, and rows for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.dialects import postgresql

from projector.compile.catalogue import AGGREGATES, REFUSALS, SAMPLE, SCALARS
from projector.compile.catalogue.entry import Entry

_HEAD = """\
# Functions and operators

What columns, keys, `WHERE`, `ON` and `HAVING` of a read model may use. The page is printed by `projector functions
--markdown` from the code's own list, and a test compares the two. Every example is run over random values (null,
negative, empty, Unicode, leap days, infinities, the ends of each type) by PostgreSQL and by the engine, and must give
the same; another test tries every function that PostgreSQL knows and fails when one is accepted that is not here.

Times are those of `TimeZone=UTC`. In the examples `c` is `table.c` of the [table at the end](#the-examples-table).
"""
_SHOWN = 4


def functions() -> Iterator[tuple[str, str, str, str, str]]:
    """(section, name, arguments, result, rule) of everything that may be used."""
    for section, entries in _sections():
        for entry in entries:
            yield section, entry.name, entry.arguments, entry.result, entry.rule


def markdown() -> str:
    """The whole page."""
    parts = [_HEAD]
    for section, entries in _sections():
        rows = [
            (_code(entry.name), entry.arguments, entry.result, entry.rule, _examples(entry.examples))
            for entry in entries
        ]
        parts.append(f"## {section}\n\n{_table(('SQL', 'arguments', 'result', 'rule', 'in SQLAlchemy'), rows)}")
    refused = [
        (refusal.name, refusal.reason, refusal.instead or "`refresh=`", _examples((refusal.example,)))
        for refusal in REFUSALS
    ]
    parts.append(
        "## Refused\n\nAt start-up, with the clause and the way out. Whatever is in neither list is refused too.\n\n"
        + _table(("construct", "why", "instead", "example"), refused)
    )
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    columns = [(f"`{column.name}`", column.type.compile(dialect=dialect).lower()) for column in SAMPLE.columns]
    parts.append("## The examples' table\n\n" + _table(("column", "type"), columns))
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, tuple[Entry, ...]]]:
    yield from SCALARS.items()
    if AGGREGATES:
        yield "Aggregates", AGGREGATES


def _examples(examples: tuple[str, ...]) -> str:
    more = f" and {len(examples) - _SHOWN} more" if len(examples) > _SHOWN else ""
    return ", ".join(f"`{_cell(text)}`" for text in examples[:_SHOWN]) + more


def _code(name: str) -> str:
    return ", ".join(f"`{_cell(word.strip())}`" for word in name.split("  "))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell if "`" in cell else _cell(cell) for cell in row) for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
