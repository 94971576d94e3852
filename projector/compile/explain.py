"""A read model in words and SQL: what a change of each source table looks up and writes. For people, not for parsing."""

from __future__ import annotations

from collections.abc import Iterator

from projector.compile.program import ModelProgram, Program


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
    used = {analysis.occurrences[c.occurrence].table.fullname for c in analysis.columns()}
    for table in program.tables.values():
        if table.fullname not in used:
            continue
        yield ""
        yield f"source table {table.name}: the replica keeps {', '.join(table.columns)}"
        for index in table.indexes:
            yield f"  index ({', '.join(index)})"
        for statement in model.touch:
            if table.fullname in statement.tables:
                looked_up = ", ".join(f"{name} by ({', '.join(columns)})" for name, columns in statement.looked_up)
                together = sorted(statement.tables - {table.fullname})
                yield f"  a change{' together with ' + ', '.join(together) if together else ''} looks up {looked_up or 'nothing'}:"
                yield f"    {statement.sql}"
    yield ""
    yield "each touched key is then written whole:"
    yield f"    {model.recompute.present}"
    yield "or deleted, when it has no row:"
    yield f"    {model.recompute.absent}"
