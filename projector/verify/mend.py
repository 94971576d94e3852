"""Repair of what a comparison found, through the log, so that the worker writes and live writes win.

    ask for the keys            each worker recomputes them in the batch of the request, at that batch's LSN
    look again                  what still differs is what the worker believes: its replica is wrong
    ask for a rebuild           each worker sets its replica aside and builds it anew from the log
    compare the whole again     a wrong replica may have written other rows too; ask for those keys, look again

Never writes Postgres's values itself: between reading and writing them a newer change could have been written.
Interrupted anywhere, requests that are in the log are carried out all the same, and another run goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from projections.read_model import ReadModel
from projector.apply import requests
from projector.verify.compare import Comparison
from projector.verify.errors import VerifyError
from projector.verify.judge import Finding, outlasts
from projector.verify.ledger import Ledger
from projector.verify.source import Source

_KEYS = 500


@dataclass(frozen=True, kw_only=True)
class Mended:
    """repaired: keys asked for. left: keys that still differ; beyond: of them, those above any timestamp of a worker."""

    repaired: int
    rebuilt: bool
    left: int
    beyond: int


class NoSnapshotError(VerifyError):
    """The log can't rebuild a replica."""


def mend(
    model: ReadModel,
    ledger: Ledger,
    comparison: Comparison,
    source: Source,
    *,
    log_is_whole: Callable[[], bool],
    excused: Callable[[], int],
    parts: list[tuple[int, int]],
) -> Mended:
    """Repair the wrong keys of a ledger. excused: takes those out of it that no repair can write. Raises VerifyError."""
    repaired = _repair(model, ledger, comparison, source)
    left = ledger.count(Finding.WRONG)
    beyond = _beyond(ledger, comparison, source)
    if left == beyond:
        return Mended(repaired=repaired, rebuilt=False, left=left, beyond=beyond)
    if not log_is_whole():
        raise NoSnapshotError(
            f"the replica behind read model {model.name} is wrong, and the log no longer holds a whole snapshot to rebuild it"
            " from: stop the relay, `relay snapshot`, start it, then verify again with --repair"
        )
    _, position = source.emit(requests.REBUILD, iter([requests.rebuild(model)]))
    comparison.wait(position)
    comparison.whole(ledger, parts)
    excused()
    ledger.reopen()
    comparison.look_again(ledger)
    repaired += _repair(model, ledger, comparison, source)
    left = ledger.count(Finding.WRONG)
    return Mended(repaired=repaired, rebuilt=True, left=left, beyond=_beyond(ledger, comparison, source))


def _repair(model: ReadModel, ledger: Ledger, comparison: Comparison, source: Source) -> int:
    count = ledger.count(Finding.WRONG)
    if count:
        _, position = source.emit(requests.REPAIR, requests.repairs(model, _wrong(ledger)))
        comparison.wait(position)
        ledger.reopen()
        comparison.look_again(ledger)
    return count


def _wrong(ledger: Ledger) -> Iterator[tuple[Any, ...]]:
    for keys in ledger.keys(Finding.WRONG, chunk=_KEYS):
        yield from keys


def _beyond(ledger: Ledger, comparison: Comparison, source: Source) -> int:
    end = source.end()
    return sum(
        look.written is not None and outlasts(look.written, end=end, epoch=comparison.epoch)
        for _, look in ledger.looks(Finding.WRONG)
    )
