"""Names of the tables that generated SQL speaks of, already quoted.

A source table's replica lives in the main database; its images and each model's touched keys in the temporary one.
"""

from projector.compile.expression import identifier


def replica_name(table: str) -> str:
    """The replica of a source table (its full name)."""
    return "main." + identifier(table)


def images_name(table: str) -> str:
    """The images of a source table in the batch at hand."""
    return "temp." + identifier(f"images of {table}")


def touched_name(model: str) -> str:
    """The keys of a read model that the batch at hand may have changed."""
    return "temp." + identifier(f"touched of {model}")


def delta_name(group: str) -> str:
    """What the batch at hand adds to each group that it touches."""
    return "temp." + identifier(f"change of {group}")


MINOR = identifier("(minor)")
"""The images' column, of tables with minor columns, that is 1 for rows of which nothing else has changed."""
WEIGHT = identifier("(weight)")
"""The images' column that says what a row counts: 1 after the batch, -1 before it, 0 in between."""
