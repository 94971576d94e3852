"""Every function and operator that a select() may use, as values: what the documentation prints is what the tests run.

Read `entry` (what is said of each), `sample` (the table that the examples are over), the sections (`comparisons`,
`computations`, `texts`, `times`, `casts`, `aggregates`, `refusals`), then `page` (the table as text).
"""

from __future__ import annotations

from projector.compile.catalogue.aggregates import AGGREGATES
from projector.compile.catalogue.casts import CASTS
from projector.compile.catalogue.comparisons import COMPARISONS
from projector.compile.catalogue.computations import COMPUTATIONS
from projector.compile.catalogue.entry import Entry, Refusal
from projector.compile.catalogue.refusals import REFUSALS
from projector.compile.catalogue.sample import SAMPLE
from projector.compile.catalogue.texts import TEXTS
from projector.compile.catalogue.times import TIMES

SCALARS: dict[str, tuple[Entry, ...]] = {
    "Comparison and logic": COMPARISONS,
    "Numbers and choice": COMPUTATIONS,
    "Text": TEXTS,
    "Dates and times": TIMES,
    "Casts": CASTS,
}
"""The entries whose examples have a value for each row, by section."""

__all__ = ["AGGREGATES", "REFUSALS", "SAMPLE", "SCALARS", "Entry", "Refusal"]
