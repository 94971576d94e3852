"""How often Python looks for garbage in cycles: seldom, in a process that keeps a batch of records and rows, or pages, in hand.

They are freed when they are let go; looking through all of them at every 700th that is made was an eighth of a worker's CPU.
"""

from __future__ import annotations

import gc

_YOUNG = 100_000  # objects more than before; a batch of 10,000 changes holds fewer


def collect_seldom() -> None:
    """Leave out of every collection what is there now, and collect when there are many more objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
