"""How many random lives a session has run, and how many constructs they tried: what the terminal says at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from projections.read_model import ReadModel
from tests.oracle.constructs import CONSTRUCTS, covering

LIVES: Counter[str] = Counter()
"""Read model (or the name of several that share a replica) to lives, in this process."""
LEAST = 20_000
"""The lives that `make test` runs through the pure core."""
_TIMES = int(os.environ.get("LOCKSTEP_ORACLE_RUNS", "1"))
OF_ROWS, IN_PARTS, IN_SLICES, WITH_BUDGETS, OF_FEEDS, OF_CAPPED_FEEDS = (
    number * _TIMES for number in (123, 13, 60, 40, 40, 15)
)
"""Seeds of each read model, by what becomes of it."""


def summary(models: tuple[ReadModel, ...]) -> Iterator[str]:
    """Lines about this session's lives; none when there were none."""
    if LIVES:
        have = covering([model for model in models if LIVES[model.name]])
        tried = [name for name, names in have.items() if names]
        yield f"{LIVES.total():,} random lives of {len(LIVES)} read models and groups of them, each equal to its SQL at every cut"
        yield f"{len(tried)} of {len(CONSTRUCTS)} constructs covered: {', '.join(tried)}"
