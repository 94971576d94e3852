"""``relay run``: sessions, one after the other, until told to stop or until going on would be wrong.

A session, in the order that makes a crash at any point harmless:

    take the slot            so that nobody else writes the log
    read the log's end       its last END or heartbeat is the position; refuse if slot and log don't fit
    stream from the slot     skipping what commits at or below the position
    publish                  BEGIN, changes, END; a heartbeat between transactions when the stream has gone further
    confirm to Postgres      only what Kafka has acknowledged

A crash after publishing and before confirming sends the same transactions again: the log's end says which to skip.
A TransientError ends the session; the next one starts over from the log's end after a growing wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter

from command_api import envelope
from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from command_api.relay import continuity
from command_api.relay.catalog import Catalog
from command_api.relay.errors import SetupError, SourceUnavailableError, TransientError
from command_api.relay.metrics import RelayState
from command_api.relay.pgoutput import Relation
from command_api.relay.publish import Publisher
from command_api.relay.replication import Identity, ReplicationConnection
from command_api.relay.rows import Origin, RowEncoders, compile_relation
from command_api.relay.tail import Tail, read_tail
from command_api.relay.transactions import Transactions

_log = get_logger(__name__)

_FRAMES_A_TURN: Final = 2_000
_CONFIRM_S: Final = 0.1  # a moved position is told to Postgres at most this often
_STATUS_S: Final = 5.0  # and something is said this often, well below wal_sender_timeout's usual 60 s
_IDLE_S: Final = 0.25
_PACE_S: Final = 0.001  # between turns while changes keep coming: a turn costs as much as several changes
_HEALTHY_S: Final = 30.0  # a session that lived this long resets the wait before the next
_FLUSH_S: Final = 10.0


class Session:
    """One stream from the slot into the log; `run` returns when `stop` is set."""

    def __init__(self, settings: Settings, state: RelayState, stop: threading.Event) -> None:
        self._settings = settings
        self._state = state
        self._stop = stop
        self._heartbeat_s = settings.relay.heartbeat_ms / 1000
        self._silence_s = settings.relay.silence_ms / 1000
        self._status_s = min(_STATUS_S, self._silence_s / 2)
        self._heartbeat_key = envelope.heartbeat_key(settings.relay.database_name)
        self._last_heartbeat = 0.0
        self._heartbeat_at = 0  # the last heartbeat's LSN: the next one waits for its acknowledgement
        self._covered_at = 0  # microseconds: what the log's end is known to hold all commits of
        self._told = 0
        self._heard = 0

    def run(self) -> None:
        """Stream until told to stop; raises RelayError."""
        conninfo = self._settings.postgres.relay.get_secret_value()
        with Catalog(conninfo) as catalog, ReplicationConnection(conninfo) as connection:
            identity = connection.identify()
            position = self.take(catalog, connection, identity)
            origin = Origin(name=self._settings.relay.database_name, database=identity.database)
            publisher = Publisher(
                self._settings.kafka,
                confirmed=position,
                on_wait=lambda: self._keep_alive(connection, publisher),
                give_up_s=self._settings.kafka.silence_ms / 1000,
            )
            transactions = Transactions(
                emit=publisher.publish,
                compile_relation=compile_with(catalog, origin),
                on_type=catalog.forget,
                history=identity.text,
                resume_at=position,
            )
            try:
                self._state.streaming = True
                self._state.sessions += 1
                _log.info("streaming", slot=self._settings.relay.slot, position=str(position), history=identity.text)
                self._stream(connection, publisher, transactions, identity)
            finally:
                self._state.streaming, self._state.asked_at = False, 0.0
                self._count(publisher, transactions)
                publisher.close()

    def take(self, catalog: Catalog, connection: ReplicationConnection, identity: Identity) -> Lsn:
        """Take the slot, then decide from the log's end where to go on."""
        relay = self._settings.relay
        slot = catalog.slot(relay.slot)
        if slot is None or slot.lost:
            # It can't be taken: the log's end says what that means.
            tail = self._tail(connection, None)
            flushed, _ = catalog.flushed()
            continuity.check(slot_name=relay.slot, slot=slot, tail=tail, identity=identity, flushed=flushed)
        if not catalog.has_publication(relay.publication):
            raise SetupError(f"the publication {relay.publication!r} is missing", hint="Run `relay setup`")
        connection.start(relay.slot, relay.publication)
        slot = catalog.slot(relay.slot)
        tail = self._tail(connection, slot.confirmed if slot else None)
        flushed, _ = catalog.flushed()
        position = continuity.check(slot_name=relay.slot, slot=slot, tail=tail, identity=identity, flushed=flushed)
        self._told = slot.confirmed if slot else 0
        self._heard = position
        self._covered_at = min(tail.at, time.time_ns() // 1000)  # whoever wrote it
        if tail.unfinished:
            _log.info("the log ends in an unfinished transaction, which is sent again", records=tail.unfinished)
        return position

    def _tail(self, connection: ReplicationConnection, confirmed: int | None) -> Tail:
        """Read the log's end; long tails are read on, so Postgres hears from us meanwhile."""
        done = threading.Event()

        def keep_alive() -> None:
            while confirmed is not None and not done.wait(_STATUS_S):
                connection.send_status(confirmed)

        thread = threading.Thread(target=keep_alive, name="relay-keepalive", daemon=True)
        thread.start()
        try:
            return read_tail(self._settings.kafka, at_least=confirmed or 0)
        finally:
            done.set()
            thread.join(_STATUS_S)

    def _stream(
        self, connection: ReplicationConnection, publisher: Publisher, transactions: Transactions, identity: Identity
    ) -> None:
        feed = transactions.feed
        state = self._state
        waits, turned = 0, 0.0
        while not self._stop.is_set():
            frames = 0
            for frame in connection.frames(_FRAMES_A_TURN):
                frames += 1
                kind = frame[0]
                if kind == 119:
                    end = feed(frame)
                    if end:
                        publisher.mark(end)
                elif kind == 107:
                    self._keepalive(frame, connection, publisher)
            moved = publisher.service()
            if not transactions.inside:
                self._beat(publisher, transactions.committed_at, identity)
            self._confirm(connection, publisher)
            self._count(publisher, transactions)
            if frames == _FRAMES_A_TURN:
                state.behind_since = transactions.committed_at / 1e6
                continue
            if frames:
                # The first change after a pause never waits; those right behind it are taken together.
                since, turned = time.monotonic() - turned, time.monotonic()
                if since < 2 * _PACE_S:
                    time.sleep(_PACE_S)  # a pace, not a wait: one turn of the loop, under a busy stream only
            waits = 0 if frames or moved else waits + 1
            if connection.wait(self._patience(publisher, transactions, waits)):
                continue
            self._check_silence(connection)
            if not transactions.inside:
                state.behind_since = 0.0
        self._finish(connection, publisher)

    def _keepalive(self, frame: bytes, connection: ReplicationConnection, publisher: Publisher) -> None:
        self._heard = max(self._heard, int.from_bytes(frame[1:9], "big"))
        if frame[17]:
            connection.send_status(publisher.confirmed)
            self._told = publisher.confirmed

    def _beat(self, publisher: Publisher, committed_at: int, identity: Identity) -> None:
        """Publish how far the stream has come when no transaction says it: at once, then at the set pace.

        Where nothing is written the position stays, and what passes is time: the same position again, with a later one.
        While Postgres had flushed more than the stream has brought when it was last asked, the time stays the one up to which
        the log is known to hold all commits.
        """
        flushed, at = self._state.flushed
        whole = flushed <= self._heard
        if self._heard <= publisher.published and not (whole and at > max(self._covered_at, committed_at)):
            return
        now = time.monotonic()
        if publisher.confirmed < self._heartbeat_at or now - self._last_heartbeat < self._heartbeat_s:
            return
        if whole and self._heard > publisher.published:
            at = time.time_ns() // 1000
        self._covered_at = max(self._covered_at, committed_at, at if whole else 0)
        self._last_heartbeat, self._heartbeat_at = now, self._heard
        publisher.publish(self._heartbeat_key, envelope.heartbeat(self._heard, self._covered_at, identity.text))
        publisher.mark(self._heard)
        self._state.heartbeats += 1

    def _confirm(self, connection: ReplicationConnection, publisher: Publisher) -> None:
        now = time.monotonic()
        silent = now - connection.last_status
        if silent >= self._status_s or (publisher.confirmed > self._told and silent >= _CONFIRM_S):
            # A server that hangs, or that no network leads to any more, looks like one that has nothing to say.
            connection.send_status(publisher.confirmed, reply=now - connection.last_heard >= self._status_s)
            self._told = publisher.confirmed
        self._state.asked_at = connection.asked_at

    def _check_silence(self, connection: ReplicationConnection) -> None:
        """Raise SourceUnavailableError when the server, asked for a sign, gave none; for when all that came is read."""
        if connection.asked_at and time.monotonic() - connection.asked_at > self._silence_s:
            raise SourceUnavailableError(
                f"Postgres has given no sign for {self._silence_s:g} s after it was asked for one"
            )

    def _keep_alive(self, connection: ReplicationConnection, publisher: Publisher) -> None:
        """While Kafka makes us wait, Postgres still hears from us."""
        if self._stop.is_set():
            raise _StopAskedError("stopped while waiting for Kafka")
        self._confirm(connection, publisher)
        self._state.turned(publisher.confirmed, publisher.outstanding)

    def _patience(self, publisher: Publisher, transactions: Transactions, waits: int) -> float:
        """Seconds to wait for bytes: short while acknowledgements are due, longer the longer nothing comes."""
        if publisher.outstanding:
            return min(0.001 * 1.2**waits, 0.05)
        if self._heard > publisher.published and not transactions.inside:
            return max(0.0005, self._heartbeat_s - (time.monotonic() - self._last_heartbeat))
        if publisher.confirmed > self._told:
            return _CONFIRM_S
        return _IDLE_S

    def _count(self, publisher: Publisher, transactions: Transactions) -> None:
        state = self._state
        state.received = self._heard = max(self._heard, publisher.published)
        state.published = publisher.published
        state.turned(publisher.confirmed, publisher.outstanding)
        state.records += publisher.take_count()
        changes, committed = transactions.take_counts()
        state.changes += changes
        state.transactions += committed

    def _finish(self, connection: ReplicationConnection, publisher: Publisher) -> None:
        """Leave with everything that is whole acknowledged and confirmed, if Kafka answers in time."""
        publisher.on_wait = lambda: None
        publisher.flush(_FLUSH_S)
        connection.send_status(publisher.confirmed)
        _log.info("stopped", position=str(Lsn(publisher.confirmed)), outstanding=publisher.outstanding)


class _StopAskedError(TransientError):
    """SIGTERM came while Kafka was behind."""


def compile_with(catalog: Catalog, origin: Origin) -> Callable[[Relation], RowEncoders]:
    """What makes a relation's encoders, with the catalog's answers of now."""

    def compile_(relation: Relation) -> RowEncoders:
        encoders = compile_relation(
            relation, catalog.key(relation), catalog.types(relation), origin, catalog.numbers(relation)
        )
        _log.info("relation", table=encoders.table, columns=len(relation.columns))
        return encoders

    return compile_


def run(settings: Settings, state: RelayState, stop: threading.Event) -> None:
    """Run sessions until `stop` is set; raises StoppedError when going on would be wrong."""
    started = time.monotonic()

    def failed(attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        state.errors += 1
        state.last_error_at, state.last_error = time.time(), str(error)
        wait = attempt.next_action.sleep if attempt.next_action else 0.0
        _log.warning(
            "the stream ended; starting over", error=str(error), kind=type(error).__name__, wait_s=round(wait, 2)
        )

    while not stop.is_set():
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_exponential_jitter(multiplier=0.1, max=10, jitter=0.1),
            stop=stop_when_event_set(stop),
            sleep=lambda seconds: _interruptible(stop, seconds),
            before_sleep=failed,
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                started = time.monotonic()
                try:
                    Session(settings, state, stop).run()
                except TransientError:
                    if stop.is_set():
                        return
                    if time.monotonic() - started > _HEALTHY_S:
                        attempt.retry_state.attempt_number = 1
                    raise
                return


def _interruptible(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)
