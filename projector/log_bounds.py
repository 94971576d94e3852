"""Whether the log still goes with a replica: what stops a worker before it reads, or when it has read all in vain. Pure."""

from __future__ import annotations

from projector.published import WorkerError


def check_bounds(offset: int, low: int, high: int) -> None:
    """offset: to read on from, 0 for a new replica. low, high: the log's first offset and its end. Raises WorkerError."""
    if offset and offset < low:
        raise WorkerError(
            f"the log begins at offset {low}, after the replica's {offset}: delete the replica, it is rebuilt"
            " from the newest whole snapshot in the log"
        )
    if offset > high:
        raise WorkerError(
            f"the log ends at offset {high}, before the replica's {offset}: it is another log or was cut;"
            " a new source history needs a new epoch (projector.epoch) and a new replica"
        )


def no_snapshot(low: int) -> WorkerError:
    """All is read, and nothing begins a replica."""
    return WorkerError(
        f"the log begins at offset {low} and holds no whole snapshot: its oldest records are gone; run `relay snapshot`"
    )
