"""What a generation has left in Cassandra, known from the registry alone: its declaration may be gone from the code. Pure."""

from __future__ import annotations

from projections.fan_out import hot_table, skipped_table
from projections.generations import Generation
from projections.shape import Shape

_DOCUMENT = "frozen<list<("


def drop_statements(generation: Generation, keyspace: str) -> list[str]:
    """DROP of its tables, then of the types of its documents, as far as they are there."""
    shape = Shape.from_json(generation.shape) if generation.shape else None
    tables = [generation.table]
    if shape is None or shape.fan_out is not None:
        tables += [hot_table(generation.table), skipped_table(generation.table)]
    documents = [name for name, cql in shape.columns.items() if cql.startswith(_DOCUMENT)] if shape is not None else []
    return [
        *(f'DROP TABLE IF EXISTS "{keyspace}"."{table}"' for table in tables),
        *(f'DROP TYPE IF EXISTS "{keyspace}"."{generation.table}_{name}"' for name in documents),
    ]
