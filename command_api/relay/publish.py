"""Records into the log, in order, and how far the log has acknowledged them.

One idempotent producer (``acks=all``) on one partition. Records are only counted: an idempotent producer's record
is never in the log without all that were produced before it, so the number acknowledged says which ones are, and a
position is confirmed when the records up to it are. No callback runs for a record that went well.

One batch is under way at a time; what comes meanwhile waits here. librdkafka sends an idempotent producer's next request when
the one before is acknowledged (rd_kafka_toppar_producer_serve counts messages in flight against its limit of five), and its
thread spins as long as a record in its own queue has waited for `linger.ms` and may not go. So a batch has to be one request:
it is handed over within LINGER_MS, and then sent at once (`_kick`). 100,000 changes of a busy stream cost 0.1 CPU seconds of
that thread so, and 0.2-0.55 with a linger of 0 and all that comes handed over (tests/bench/debezium.py).

Promised: `confirmed` never passes a record that is not in the log; after one failed delivery nothing is confirmed any
more and `service` raises DeliveryError; memory is bounded by `QUEUE_BYTES` however long Kafka is away.
Not promised: that unacknowledged records are not in the log. The next session reads the log's end to know.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Producer

from command_api.process.kafka_login import KafkaRefusedError, opened
from command_api.process.settings import Kafka
from command_api.relay.errors import DeliveryError, LogUnavailableError, RelayError, SetupError

QUEUE_BYTES: Final = 64 << 20
QUEUE_RECORDS: Final = 100_000
BATCH_RECORDS: Final = 500  # librdkafka takes them in about half of LINGER_MS
BATCH_BYTES: Final = 1 << 20
LINGER_MS: Final = 1
_KICK_S: Final = 0.001
_SOON_S: Final = 0.25  # a wait that is no longer is nobody's business

QUIET: Final[dict[str, Any]] = {"log_level": 3, "logger": logging.getLogger("librdkafka")}
"""librdkafka's own lines go through our log, and only errors: its warnings repeat what the errors say."""

_REPORT_S: Final = 1.0
_OVERHEAD_BYTES: Final = 4_096  # of a record with its key in a batch of one
_RAISE_LIMIT: Final = "Raise kafka.max_message_bytes and the topic's max.message.bytes, then start the relay again"

_TOO_LARGE: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)
_REFUSED: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
)


def _size(record: dict[str, Any]) -> int:
    return len(record["value"]) + len(record["key"] or b"")


def kafka_error(error: KafkaError, doing: str) -> RelayError:
    """Translate a Kafka error: what waiting can't mend is a SetupError."""
    what = f"{doing}: {error.str()} ({error.name()})"
    if error.code() in _TOO_LARGE:
        return SetupError(
            what, hint="Raise kafka.max_message_bytes and the topic's max.message.bytes, then start the relay"
        )
    if error.code() in _REFUSED:
        return SetupError(what, hint="Give the relay's Kafka user the right to write the topic")
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return DeliveryError(what)
    return LogUnavailableError(what) if error.retriable() or error.code() < 0 else DeliveryError(what)


class Publisher:
    """The producer of one session.

    produced, acknowledged: records. confirmed, published: LSNs; published is the last position handed to the producer.
    on_wait: called now and then while Kafka is behind for long, so that the caller keeps its other promises.
    give_up_s: how long Kafka may acknowledge nothing of what it was given; LogUnavailableError then. A producer may be lost
        for good: to librdkafka from 2.10 on, brokers that a reply does not name are gone, and a broker that stands alone
        names none while it stops; where the thread that then wants to begin anew with `bootstrap.servers` is
        overtaken by the end of that reply (rd_kafka_rebootstrap_tmr_stop), nobody ever does.
    """

    def __init__(
        self,
        settings: Kafka,
        *,
        confirmed: int,
        on_wait: Callable[[], None] = lambda: None,
        give_up_s: float = math.inf,
    ) -> None:
        self._give_up_s = give_up_s
        self.confirmed = confirmed
        self.published = confirmed
        self.produced = 0
        self.acknowledged = 0
        self._counted = 0
        self._batch: list[dict[str, Any]] = []
        self._batch_bytes = 0
        self._offer_at = BATCH_RECORDS
        self._under_way = 0  # what `acknowledged` is when the last batch is
        self._largest = settings.max_message_bytes - _OVERHEAD_BYTES
        self.on_wait = on_wait
        self._topic = settings.topic
        self._positions: deque[tuple[int, int]] = deque()
        self._failure: RelayError | None = None
        self._reported = False
        self._moved_at = time.monotonic()
        try:
            self._producer = opened(Producer, producer_properties(settings, self._on_delivery, self._on_error))
        except KafkaRefusedError as error:
            raise SetupError(str(error)) from error
        self._produce_batch = self._producer.produce_batch
        self._poll = self._producer.poll

    def publish(self, key: bytes | None, value: bytes) -> None:
        """Add a record; waits while more than BATCH_BYTES wait already. Raises DeliveryError or SetupError.

        A full batch is handed to the producer as soon as none is under way, what there is by `service`.
        """
        batch = self._batch
        batch.append({"value": value, "key": key})
        self._batch_bytes = size = self._batch_bytes + len(value) + len(key or b"")
        if len(batch) >= self._offer_at or size >= BATCH_BYTES:
            self._offer()

    def mark(self, lsn: int) -> None:
        """Everything produced so far is the log up to `lsn`."""
        self.published = lsn
        self._positions.append((self.produced + len(self._batch), lsn))

    @property
    def outstanding(self) -> int:
        """Records that Kafka has not acknowledged yet."""
        return self.produced + len(self._batch) - self.acknowledged

    def service(self, timeout_s: float = 0) -> bool:
        """Send what waits, take in what Kafka answered; True when `confirmed` moved.

        Raises the failure of any record, for good.
        """
        if self._batch and self._has_room():
            self._hand_over()
            self._kick()
        return self._take_in(timeout_s)

    def _take_in(self, timeout_s: float) -> bool:
        waiting = len(self._producer)  # before poll: a failure counts as waiting until its report is served
        try:
            self._poll(timeout_s)
        except KafkaException as error:
            self._give_up(error.args[0])
        if self._failure is not None:
            raise self._failure
        self._acknowledge(self.produced - waiting)
        positions, moved = self._positions, False
        while positions and positions[0][0] <= self.acknowledged:
            self.confirmed = positions.popleft()[1]
            moved = True
        return moved

    def _acknowledge(self, count: int) -> None:
        now = time.monotonic()
        if count > self.acknowledged:
            self.acknowledged = count
            self._moved_at = now
        elif self.acknowledged < self.produced and now - self._moved_at >= self._give_up_s:
            raise LogUnavailableError(f"Kafka has acknowledged nothing for {now - self._moved_at:.0f} s")

    def take_count(self) -> int:
        """Records produced since the last call."""
        taken, self._counted = self.produced - self._counted, self.produced
        return taken

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged; False when the time ran out. Raises as `service`."""
        deadline = time.monotonic() + timeout_s
        while self.outstanding and time.monotonic() < deadline:
            self.service(0.005)
            self.on_wait()
        return not self.outstanding

    def close(self, timeout_s: float = 5.0) -> None:
        """Give what is under way a last chance, then forget it."""
        # Whatever it says now, the log's end will tell the next session. After a purge of what is in flight `flush` fails
        # without an exception of its own, which Python calls a SystemError.
        with suppress(KafkaException, SystemError):
            if self._failure is None:
                self._producer.flush(timeout_s)
            self._producer.purge()
            self._producer.flush(1.0)

    def _has_room(self) -> bool:
        return self.produced - len(self._producer) >= self._under_way

    def _offer(self) -> None:
        """Hand a batch over when none is under way; waits for that only when too much waits already."""
        began = time.monotonic()
        while not (room := self._has_room()) and self._batch_bytes >= BATCH_BYTES:
            self._take_in(0.001)
            if time.monotonic() - began >= _SOON_S:
                self.on_wait()
        if room:
            self._hand_over()
        else:
            self._offer_at = len(self._batch) + BATCH_RECORDS

    def _kick(self) -> None:
        """Send what was handed over without waiting for more to come."""
        try:
            self._producer.flush(_KICK_S)
        except KafkaException as error:
            self._give_up(error.args[0])

    def _hand_over(self) -> None:
        """Give a batch to the producer, in order and whole; waits while its queue is full."""
        batch, size = self._batch, self._batch_bytes
        # Where Kafka takes so long that all this has come meanwhile, a large request is worth a thread that spins.
        if len(batch) > BATCH_RECORDS and size < BATCH_BYTES:
            batch, self._batch = batch[:BATCH_RECORDS], batch[BATCH_RECORDS:]
            size = sum(map(_size, batch))
            self._batch_bytes -= size
        else:
            self._batch, self._batch_bytes = [], 0
        self._offer_at = len(self._batch) + BATCH_RECORDS
        if size > self._largest:
            largest = max(map(_size, batch))
            if largest > self._largest:
                raise SetupError(
                    f"a record of {largest} bytes is larger than kafka.max_message_bytes allows", hint=_RAISE_LIMIT
                )
        while True:
            try:
                taken = self._produce_batch(self._topic, batch, 0)
            except KafkaException as error:
                raise kafka_error(error.args[0], "a batch of records was refused") from error
            if self.acknowledged == self.produced:
                self._moved_at = time.monotonic()
            self.produced += taken
            if taken == len(batch):
                self._under_way = self.produced
                return
            for record in batch:
                refused: KafkaError | None = record.get("_error")
                if refused is not None and refused.code() != KafkaError._QUEUE_FULL:
                    raise kafka_error(refused, "a record was refused")
            # What was not taken is the end of the batch: a full queue refuses all that follows.
            batch = batch[taken:]
            self._take_in(0.01)
            self.on_wait()

    def _give_up(self, error: KafkaError) -> None:
        """The producer has failed for good: wait briefly for the record's own report, which says why."""
        deadline = time.monotonic() + _REPORT_S
        while not self._reported and time.monotonic() < deadline:
            with suppress(KafkaException):
                self._poll(0.05)
        self._failure = self._failure or kafka_error(error, "the producer gave up")

    def _on_delivery(self, error: KafkaError | None, _: confluent_kafka.Message) -> None:
        if error is not None and not self._reported:
            self._reported = True
            self._failure = kafka_error(error, "a record was not delivered")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() and self._failure is None:
            self._failure = kafka_error(error, "the producer gave up")


def producer_properties(
    settings: Kafka,
    on_delivery: Callable[[KafkaError | None, confluent_kafka.Message], None],
    on_error: Callable[[KafkaError], None],
) -> dict[str, Any]:
    """librdkafka's properties; the user's own come first and can't weaken what the promises rest on."""
    return {
        "compression.type": "none",
        "linger.ms": LINGER_MS,
        "batch.num.messages": 10_000,
        "batch.size": 1_000_000,
        "socket.keepalive.enable": True,
        # A partition that has no leader while its broker restarts is asked for again soon, not after five minutes.
        "topic.metadata.refresh.interval.ms": 10_000,
        **settings.client_properties(),
        "message.max.bytes": settings.max_message_bytes,
        "queue.buffering.max.kbytes": max(QUEUE_BYTES, 2 * settings.max_message_bytes) >> 10,
        "queue.buffering.max.messages": QUEUE_RECORDS,
        "enable.idempotence": True,
        "acks": "all",
        # A gap is fatal to the producer, and nothing times out: Kafka away is waited for, as long as it takes.
        "enable.gapless.guarantee": True,
        "message.timeout.ms": 0,
        "delivery.report.only.error": True,
        "on_delivery": on_delivery,
        "error_cb": on_error,
        **QUIET,
    }
