"""What a select() with GROUP BY may use: functions of a group's rows.

The examples of these have a value for each group, so they are run by the tests of grouping.
"""

from __future__ import annotations

from projector.compile.catalogue.entry import Entry

AGGREGATES: tuple[Entry, ...] = ()
