"""A worker put together and kept at work: its replica, the log, Cassandra, and the tables of the generations that it writes.

`projector run` and `projector generations build` are both this, over different tables and files. A worker that ends because
a rebuild was asked for, or because it takes over another generation's table, is followed by the next one here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cassandra.cluster import Session

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.read_model import ReadModel
from projector.announce import Announcer
from projector.apply.anew import Anew, later_snapshot
from projector.apply.log import LogReader
from projector.apply.probe import LogProbe
from projector.apply.requests import RebuildAskedError
from projector.cassandra.errors import WriterStoppedError
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from projector.compile.program import Program
from projector.coverage import Target
from projector.dead_letters.marks import Marks
from projector.dead_letters.parking import Parking
from projector.dead_letters.topic import Topic
from projector.generations.errors import RegistryAwayError
from projector.generations.handover import Handover, SwitchedError, behind, note, noted
from projector.generations.tables import of_generation, registry_of
from projector.metrics import WorkerMetrics
from projector.readiness import Readiness
from projector.replica.schema import (
    ReplicaError,
    ReplicaMismatchError,
    explained,
    open_replica,
    set_aside,
)
from projector.replica.values import ValueFormatError
from projector.slices import Slices
from projector.worker import Worker

_AGAIN_S = 1.0
_log = get_logger(__name__)

Tables = Mapping[str, str]
"""By read model, the name in Cassandra of the table that is written."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One worker's work.

    tables: which tables to write, asked once Cassandra is there. follows: whether the worker takes over what becomes live.
    successor: a replica that a build has left for this one to go on with; leaves: whether this one is such a build.
    turned: called before each turn.
    """

    settings: Settings
    program: Program
    models: tuple[ReadModel, ...]
    metrics: WorkerMetrics
    readiness: Readiness
    stop: threading.Event
    tables: Callable[[Session], Tables]
    follows: bool = True
    successor: Path | None = None
    leaves: bool = False
    turned: Callable[[], None] = field(default=lambda: None)

    @property
    def replica(self) -> Path:
        """The replica's file."""
        return self.settings.projector.replica

    @property
    def identity(self) -> str:
        """Of the log that the replica is built from."""
        return f"{self.settings.kafka.topic} epoch {self.settings.projector.epoch}"


def work(job: Work) -> None:
    """Work until stopped. Raises what can't be worked through: the errors of `projector.__main__`'s list."""

    def retried(kind: str) -> None:
        job.metrics.retried(kind)
        job.readiness.retried(kind)

    settings, chosen = job.settings, job.settings.projector
    connection = opened(job)
    log = LogReader(settings.kafka)
    session = None
    try:
        job.readiness.began("connecting to Cassandra")
        session = connect(settings.cassandra, stop=job.stop, follow_schema=True)
        job.readiness.log_answers = LogProbe(settings.kafka).answers
        tables = _tables(job, session)
        announcer = Announcer(settings.kafka, [model.name for model in job.models])
        parking = Parking(
            job.models,
            lambda target: Marks(session, target, job.stop),
            Topic(settings.kafka, job.stop),
            most=chosen.most_dead_letters,
            gauge=job.metrics.dead_letters,
        )
        writer = Writer(
            session,
            rows_per_batch=chosen.rows_per_batch,
            batch_bytes=chosen.batch_bytes,
            partitions_per_batch=chosen.partitions_per_batch,
            in_flight=chosen.batches_in_flight,
            stop=job.stop,
            on_retry=retried,
            on_write=announcer.saw,
            on_refused=parking.refused,
        )
        anew: Anew | None = None
        skipping: tuple[int, int] | None = (
            None  # the offsets of a record that can't be read, and of a snapshot behind it
        )
        while True:
            job.readiness.began("looking at the log and at what is published")
            connection, tables = _standing_for(job, connection, tables, writer)
            for model in job.models:
                for table in of_generation(model, settings.cassandra.keyspace, tables[model.name]):
                    writer.prepare(table)
            worker = Worker(
                connection=connection,
                program=job.program,
                log=log,
                writer=writer,
                target=Target(
                    keyspace=settings.cassandra.keyspace,
                    projection=chosen.projection,
                    epoch=chosen.epoch,
                    tables=tables,
                ),
                metrics=job.metrics,
                stop=job.stop,
                max_batch_changes=chosen.max_batch_changes,
                announce=announcer.tell,
                slices=Slices(above=chosen.put_aside_above, keys=chosen.slice_keys, share=chosen.slice_share),
                turned=_turned(job, connection, tables, session, writer),
                parking=parking,
                anew=anew,
                until=None if skipping is None else skipping[0],
            )
            anew = None
            try:
                worker.run()
                if skipping is None or job.stop.is_set():
                    break
                anew, skipping = Anew(skipping[1], job.program), None
                connection.close()
                connection = opened(job)
            except ValueFormatError as error:
                if error.offset is None or (begin := later_snapshot(log, error.offset)) is None:
                    raise
                _log.warning("a record can't be read: going on from a later snapshot", reason=str(error), offset=begin)
                # First all that stands before it, to a COMMIT: rows of it may be written that the snapshot does not name.
                skipping = error.offset, begin
                connection.close()  # with what the batch has left in its temporary tables
                connection = opened(job)
            except RebuildAskedError as error:
                _log.warning("the replica is set aside and built anew", reason=str(error), replica=str(job.replica))
                connection = _anew(job, connection)
            except SwitchedError as error:
                _log.info("the worker takes over what has become live", tables=error.tables)
                tables = error.tables
                connection.close()
                connection = opened(job)
    except sqlite3.Error as error:
        reason = explained(error, job.replica)
        if reason is None:
            raise
        raise reason from error
    except WriterStoppedError as error:
        _log.warning("stopped before the batch was written", cause=str(error))
    finally:
        job.readiness.began("stopping")
        if session is not None:
            close(session)
        log.close()
        connection.close()


def _tables(job: Work, session: Session) -> Tables:
    """Which tables to write, asked again for as long as Cassandra does not answer."""
    while True:
        try:
            return job.tables(session)
        except RegistryAwayError as error:
            _log.warning("cassandra does not answer, asking again", cause=str(error))
            if job.stop.wait(_AGAIN_S):
                raise WriterStoppedError(f"stopped while Cassandra did not answer: {error}") from error


def opened(job: Work) -> sqlite3.Connection:
    """The replica, opened; made anew, or taken from a build, when it was made for other read models. Raises ReplicaError."""
    path = job.replica
    path.parent.mkdir(parents=True, exist_ok=True)
    if job.leaves:
        _label(path).write_text(_wanted(job))
    if not path.exists():
        with contextlib.suppress(ReplicaError):  # a new volume's worker needs no running build to end
            _succeeded(job)
    try:
        return open_replica(path, job.program, job.identity)
    except ReplicaMismatchError as error:
        if not _succeeded(job):
            _log.warning("the replica is rebuilt from the log", cause=str(error))
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        return open_replica(path, job.program, job.identity)


def _succeeded(job: Work) -> bool:
    """Move a build's replica that is just what this worker needs to its place; raises ReplicaError while it is in use."""
    if job.successor is None or not job.successor.exists() or not _label(job.successor).exists():
        return False
    if _label(job.successor).read_text() != _wanted(job):  # asked of a file beside it: a replica in use can't be opened
        return False
    try:
        open_replica(job.successor, job.program, job.identity).close()
    except ReplicaMismatchError:
        return False
    except ReplicaError as error:
        raise ReplicaError(
            f"a build has the replica that this worker needs ({error}): stop that build, then start this worker again"
        ) from error
    if job.replica.exists():
        set_aside(job.replica)
    job.successor.replace(job.replica)
    _label(job.successor).unlink()
    _log.info("the replica of a build takes the place of the one before", replica=str(job.replica))
    return True


def _wanted(job: Work) -> str:
    """What a replica must have been made for."""
    return f"{job.program.fingerprint} {job.identity}"


def _label(replica: Path) -> Path:
    """A file beside a build's replica that says what it is made for."""
    return replica.with_name(f"{replica.name}.for")


def _anew(job: Work, connection: sqlite3.Connection) -> sqlite3.Connection:
    job.metrics.rebuilds.inc()
    connection.close()
    set_aside(job.replica)
    return opened(job)


def _standing_for(
    job: Work, connection: sqlite3.Connection, tables: Tables, writer: Writer
) -> tuple[sqlite3.Connection, Tables]:
    """A replica that may stand for these tables: the one that there is, or when it is past one of them a new one."""
    positions = writer.read_positions(
        keyspace=job.settings.cassandra.keyspace, projection=job.settings.projector.projection
    )
    late = behind(connection, noted(connection, job.models), tables, positions)
    if late:
        _log.warning(
            "the replica is past tables that it has never written: it is set aside and built anew",
            tables=list(late.values()),
        )
        connection = _anew(job, connection)
        noted(connection, job.models)
    note(connection, tables)
    return connection, tables


def _turned(
    job: Work, connection: sqlite3.Connection, tables: Tables, session: Session, writer: Writer
) -> Callable[[], None]:
    """What a worker calls at each turn."""
    if not job.follows:
        return job.turned
    keyspace, projection = job.settings.cassandra.keyspace, job.settings.projector.projection
    registry = registry_of(session, job.settings)
    handover = Handover(
        connection,
        job.models,
        tables,
        read=lambda: registry.read(exact=False),
        positions=lambda: writer.read_positions(keyspace=keyspace, projection=projection),
    )

    def turned() -> None:
        job.turned()
        handover.turned()

    return turned
