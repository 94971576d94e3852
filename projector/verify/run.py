"""One read model verified, and repaired when that is asked for: what the command and the sampler share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from cassandra.cluster import Session

from command_api.process.settings import Settings
from projections.read_model import ReadModel
from projections.refreshed import maintained
from projector.apply.requests import decoded
from projector.coverage import Target
from projector.dead_letters.marks import Marks
from projector.verify.checksum import sample
from projector.verify.compare import Comparison, Progress
from projector.verify.feed import Feed
from projector.verify.judge import Finding
from projector.verify.ledger import Ledger
from projector.verify.log import log_is_whole
from projector.verify.mend import mend
from projector.verify.report import Difference, Report, difference
from projector.verify.source import Selection, Source
from projector.verify.table import Table

_JSON_DIFFERENCES = 100_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """percent: of the partitions, chosen by `seed`. repair: mend what differs. wait_s: bound of each wait for coverage."""

    percent: float = 100.0
    seed: int = 0
    repair: bool = False
    wait_s: float = 120.0


def verify(
    model: ReadModel,
    settings: Settings,
    session: Session,
    options: Options,
    progress: Progress,
    stored: str = "",
) -> Report:
    """Compare a read model with its SQL. stored: the table in Cassandra, of another generation than the first. Raises VerifyError, CassandraError, LogUnavailableError."""
    began = time.monotonic()
    model = maintained(model)
    conninfo = settings.postgres.verifier or settings.postgres.relay
    source = Source(conninfo.get_secret_value())
    selection = Selection(model)
    table = Table(
        session,
        model,
        keyspace=settings.cassandra.keyspace,
        projection=settings.projector.projection,
        columns=selection.columns,
        stored=stored,
    )
    feed = Feed(session, model, settings.cassandra.keyspace, stored) if model.fan_out is not None else None
    comparison = Comparison(model, source, table, selection, wait_s=options.wait_s, progress=progress, feed=feed)
    parts = sample(options.percent, options.seed)
    with Ledger() as ledger:
        done = comparison.whole(ledger, parts)
        moving = comparison.look_again(ledger)

        def excused() -> int:
            return ledger.drop(dead_letters(session, settings, model, stored))

        parked = excused()
        differing = ledger.count(Finding.WRONG)
        differences = _differences(model, ledger, selection)
        mended = None
        if options.repair and differing:
            mended = mend(
                model,
                ledger,
                comparison,
                source,
                log_is_whole=lambda: log_is_whole(settings.kafka),
                excused=excused,
                parts=parts,
            )
    return Report(
        read_model=model.name,
        position=done.point,
        rows=done.expected_rows,
        found_rows=done.found_rows,
        sampled=options.percent,
        differing=differing,
        differences=differences,
        moving=moving,
        left_out=selection.left_out,
        seconds=time.monotonic() - began,
        repaired=mended.repaired if mended else 0,
        rebuilt=mended.rebuilt if mended else False,
        left=mended.left if mended else None,
        beyond_repair=mended.beyond if mended else 0,
        dead_letters=parked,
    )


def dead_letters(session: Session, settings: Settings, model: ReadModel, stored: str) -> list[tuple[Any, ...]]:
    """The keys of rows that Cassandra refuses, as far as they are short enough to be known; raises CassandraError."""
    target = Target(
        keyspace=settings.cassandra.keyspace,
        projection=settings.projector.projection,
        epoch=settings.projector.epoch,
        tables={model.name: stored} if stored else {},
    )
    marks = Marks(session, target, threading.Event()).read([model.name])
    return decoded(model, [msgspec.json.decode(mark.key) for mark in marks if mark.key is not None])


def _differences(model: ReadModel, ledger: Ledger, selection: Selection) -> tuple[Difference, ...]:
    found: list[Difference] = []
    for key, look in ledger.looks(Finding.WRONG):
        if len(found) == _JSON_DIFFERENCES:
            break
        found.append(difference(model, key, look, selection.columns))
    return tuple(found)
