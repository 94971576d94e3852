"""The topic of dead letters: one record for each row that Cassandra refused, with what it was to be and why.

    key    {"read_model": "orders_by_user", "key": {"user_id": …, …}}
    value  {"read_model", "key", "row": {…} | null, "reason", "lsn": "16/B374D848", "time": "2024-03-01T12:30:00.000001Z"}

Keys and rows are in replica form (`projections.values`), bytes as base64; a row that is too large for a record is null. `time`
is the commit's. Promised: `tell` returns when the topic has the records (acks=all). A repeated batch tells again: who
counts, counts (read_model, key, lsn). The topic is made when the first record goes there, and kept as long as the log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from command_api.lsn import Lsn
from command_api.process.kafka_admin import settled
from command_api.process.kafka_login import KafkaRefusedError, opened
from command_api.process.logging import get_logger
from command_api.process.settings import Kafka
from projector.cassandra.errors import RefusedRow, WriterStoppedError
from projector.dead_letters.errors import DeadLetterError
from projector.dead_letters.letters import Letter

_MAKE_S = 10.0
_LOOK_AROUND_S = 0.2
_AGAIN_S = 0.5
_AWAY = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.REQUEST_TIMED_OUT)
_OVERHEAD_BYTES = 64 * 1024

_log = get_logger(__name__)


class Topic:
    """A producer that is made when it is first needed. stop: ends the wait for a Kafka that is away."""

    def __init__(self, settings: Kafka, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._producer: Producer | None = None
        self._failure: KafkaError | None = None

    def tell(self, refused: Iterable[tuple[Letter, RefusedRow, tuple[str, ...]]]) -> None:
        """Produce a record for each letter; its row's columns come with it. Raises DeadLetterError, WriterStoppedError."""
        producer = self._producer = self._producer or self._opened()
        for letter, row, columns in refused:
            key, value = record(letter, row, columns, self._settings.max_message_bytes - _OVERHEAD_BYTES)
            while True:
                try:
                    producer.produce(self._settings.dead_letters, value, key, partition=0, on_delivery=self._delivered)
                    break
                except BufferError:
                    self._wait(producer)
                except KafkaException as error:
                    raise self._explained(error.args[0]) from error
        while len(producer):
            self._wait(producer)
        if self._failure is not None:
            raise self._explained(self._failure)

    def _wait(self, producer: Producer) -> None:
        producer.poll(_LOOK_AROUND_S)
        if self._failure is not None:
            raise self._explained(self._failure)
        if self._stop.is_set():
            raise WriterStoppedError("stopped while Kafka did not take dead letters; they are told on the next start")

    def _delivered(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None and error.code() != KafkaError._PURGE_QUEUE:
            self._failure = error

    def _explained(self, error: Any) -> DeadLetterError:
        return DeadLetterError(
            f"topic {self._settings.dead_letters!r} did not take a dead letter: {error.str()}; check that the projector's"
            " Kafka user may make and write it, and the topic's max.message.bytes"
        )

    def _opened(self) -> Producer:
        properties: dict[str, Any] = {
            **self._settings.client_properties(),
            "client.id": "lockstep-dead-letters",
            "logger": logging.getLogger("librdkafka"),
        }
        try:
            self._make(properties)
            return opened(
                Producer,
                {
                    **properties,
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 0,
                    "message.timeout.ms": 0,
                    "message.max.bytes": self._settings.max_message_bytes,
                    "allow.auto.create.topics": False,
                },
            )
        except (KafkaException, KafkaRefusedError) as error:
            raise DeadLetterError(f"no dead letter can be told: {error}; check kafka.client") from error

    def _make(self, properties: dict[str, Any]) -> None:
        settings = self._settings
        wanted = NewTopic(
            settings.dead_letters,
            num_partitions=1,
            replication_factor=settings.replication_factor,
            config={
                "retention.ms": str(settings.retention_ms),
                "max.message.bytes": str(settings.max_message_bytes),
            },
        )
        admin = AdminClient(properties)  # held: without it its answers are lost
        while True:
            try:
                settled(admin.create_topics([wanted], request_timeout=_MAKE_S).values(), _MAKE_S)
                return
            except TimeoutError as error:
                cause: object = error
            except KafkaException as error:
                cause = error
                code = error.args[0].code()
                if code == KafkaError.TOPIC_ALREADY_EXISTS:
                    return
                if code not in _AWAY:
                    raise
            _log.warning("the topic of dead letters can't be made yet", topic=settings.dead_letters, cause=str(cause))
            if self._stop.wait(_AGAIN_S):
                raise WriterStoppedError("stopped while Kafka did not answer; dead letters are told on the next start")


def record(letter: Letter, refused: RefusedRow, columns: tuple[str, ...], most_bytes: int) -> tuple[bytes, bytes]:
    """Key and value of a record, the row left out when they would be larger than `most_bytes`."""
    name = {"read_model": letter.model, "key": refused.key}
    rest = {
        "reason": letter.reason,
        "lsn": str(Lsn(letter.lsn)),
        "time": letter.since_text,
    }
    row = dict(zip(columns, refused.row, strict=True))
    key, value = msgspec.json.encode(name), msgspec.json.encode({**name, "row": row, **rest})
    if len(value) + len(key) > most_bytes:
        value = msgspec.json.encode({**name, "row": None, **rest})
    if len(value) + len(key) > most_bytes:  # its key alone is as large
        name = {"read_model": letter.model, "key": None}  # type: ignore[dict-item]
        key, value = msgspec.json.encode(name), msgspec.json.encode({**name, "row": None, **rest})
    return key, value
