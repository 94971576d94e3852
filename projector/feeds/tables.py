"""What feeds keep about their partitions in the replica: a row each of a read model and a reader. Text alone.

copies: at most so many rows of the partition are in Cassandra, at least `cap` + 1 once it was more than `cap`.
inactive: readers whose rows are left out; told: their row of the skipped table is written.
waking: active readers whose partition has yet to be written. asked: when a partition was last asked for, as far as it counts.
limits: a row a read model, the time of `seen` below which readers were inactive at the last commit. Times are microseconds.
"""

CREATE_ASKED_AT = "CREATE INDEX IF NOT EXISTS main.asked_at ON asked (model, at)"
COPIES, INACTIVE, WAKING, ASKED, LIMITS = "main.copies", "main.inactive", "main.waking", "main.asked", "main.limits"
PARTITIONS = (COPIES, INACTIVE, WAKING, ASKED, LIMITS)


def _create(table: str, *columns: str) -> str:
    names = ", ".join(("model TEXT NOT NULL", "reader NOT NULL", *columns))
    return f"CREATE TABLE {table} ({names}, PRIMARY KEY (model, reader)) WITHOUT ROWID"


CREATE_PARTITIONS = (
    _create(COPIES, "n INTEGER NOT NULL"),
    _create(INACTIVE, "told INTEGER NOT NULL"),
    _create(WAKING),
    _create(ASKED, "at INTEGER NOT NULL"),
    f"CREATE TABLE {LIMITS} (model TEXT PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID",
)
