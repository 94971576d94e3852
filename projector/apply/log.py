"""The Kafka log as a stream of (offset, value), from any offset; and the consumer group that stock tools watch.

Promised: values in offset order, every one from the asked offset on, or an error that says what is missing. Brokers
that are away are waited for by librdkafka itself; it is logged, and `read` returns nothing meanwhile. Where nothing has come
for as long as a relay is never silent, another client reads on: one that has lost its brokers can stay without any
(`command_api.relay.publish.Publisher` says how).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from command_api.process.kafka_login import KafkaRefusedError, Refusals, opened, reached
from command_api.process.logging import get_logger
from command_api.process.settings import Kafka

_log = get_logger(__name__)
_PARTITION = 0
_QUERY_SECONDS = 30.0
_LOG_EVERY = 5.0
_FILL_SECONDS = 0.02


class LogUnavailableError(RuntimeError):
    """The log can't be read: no such topic, no permission, or the wanted offset is gone."""


class LogReader:
    """A reader of the log topic; `open_at` comes first. ended: all is read up to where that said that it ends.

    When it has waited for a record in vain for `kafka.silence_ms` in all, another client takes over.
    """

    def __init__(self, settings: Kafka) -> None:
        self._topic = settings.topic
        self._partition = TopicPartition(settings.topic, _PARTITION)
        self._logged = 0.0
        self._end = -1
        self._until: int | None = None
        self.ended = False
        self._refusals = Refusals()
        self._reached = False
        self._anew_s = settings.silence_ms / 1000
        self._silent_s = 0.0
        self._next: int = OFFSET_BEGINNING
        self._properties: dict[str, Any] = {
            **settings.client_properties(),
            "group.id": settings.group_id,
            "client.id": "lockstep-projector",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "fetch.message.max.bytes": 1 << 20,  # to begin with: librdkafka asks for more when a record is larger
            "receive.message.max.bytes": max(100_000_000, settings.max_message_bytes + (1 << 20)),
            "queued.min.messages": 20_000,
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 5,
            "topic.metadata.refresh.interval.ms": 10_000,  # a leader that is away is asked for again soon
            "reconnect.backoff.max.ms": 2_000,
            "allow.auto.create.topics": False,
            "error_cb": self._refusals,
            "logger": logging.getLogger("librdkafka"),
        }
        self._consumer = self._opened()

    def _opened(self) -> Consumer:
        try:
            return opened(Consumer, self._properties)
        except KafkaRefusedError as error:
            raise LogUnavailableError(str(error)) from error

    def bounds(self) -> tuple[int, int]:
        """First offset and the offset after the last; raises LogUnavailableError."""
        try:
            if not self._reached:
                reached(self._consumer, self._refusals, _QUERY_SECONDS)
                self._reached = True
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, _PARTITION), timeout=_QUERY_SECONDS
            )
        except KafkaRefusedError as error:
            raise LogUnavailableError(str(error)) from error
        except KafkaException as error:
            raise self._explained(error.args[0]) from error
        return low, high

    def open_at(self, offset: int | None, until: int | None = None) -> None:
        """Start reading at an offset, or at the beginning; records from `until` on, the offset of one, are left out."""
        self._until, self.ended = until, False
        self._next = OFFSET_BEGINNING if offset is None else offset
        self._assign()

    def _assign(self) -> None:
        self._silent_s = 0.0
        self._consumer.assign([TopicPartition(self._topic, _PARTITION, self._next)])

    def read(self, most: int, timeout: float) -> list[tuple[int, bytes]]:
        """What is there, at most `most` records; waits up to `timeout` seconds for the first. Tombstones are left out."""
        if self.ended:
            return []
        # poll() for the first message, then whatever else is there: consume(n, timeout) would wait for all n
        messages: list[Message] = self._consumer.consume(most, 0)
        if not messages:
            began = time.monotonic()
            first = self._consumer.poll(timeout)
            if first is None:
                self._waited(time.monotonic() - began)
                return []
            messages = [first, *self._consumer.consume(most - 1, 0)]
        if most > len(messages) and self._end - (messages[-1].offset() or 0) > most:
            # Far behind: a few milliseconds make the batch a full one, and full batches cost less a change.
            messages += self._consumer.consume(most - len(messages), _FILL_SECONDS)
        # Asked here and not in `end`: a call from another thread waits as long as this one is polling.
        self._end = int(self._consumer.get_watermark_offsets(self._partition, cached=True)[1])
        records = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._failed(error)
                continue
            self._silent_s = 0.0
            offset, value = message.offset(), message.value()
            if self._until is not None and offset is not None and offset >= self._until:
                self.ended = True
                break
            if offset is not None:
                self._next = offset + 1
                if value is not None:
                    records.append((offset, value))
        return records

    def _waited(self, seconds: float) -> None:
        """Read on by another client when it has been waited in vain for too long."""
        self._silent_s += seconds
        if self._silent_s < self._anew_s:
            return
        _log.warning("nothing comes from the log; another client reads on", offset=self._next)
        # Not waited for: where nobody answers, it waits for its last commit, for a minute and more.
        threading.Thread(target=self._consumer.close, name="log-reader-close", daemon=True).start()
        self._consumer = self._opened()
        self._assign()

    def end(self) -> int:
        """The offset after the last record, as known when `read` last gave some; -1 before. Any thread may ask."""
        return self._end

    def commit(self, offset: int) -> None:
        """Tell the consumer group, without waiting: the worker's own position is the replica's."""
        try:
            self._consumer.commit(offsets=[TopicPartition(self._topic, _PARTITION, offset)], asynchronous=True)
        except KafkaException as error:
            _log.warning("the consumer group's offset was not committed", cause=str(error))

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def _failed(self, error: KafkaError) -> None:
        fatal = (
            KafkaError._AUTO_OFFSET_RESET,
            KafkaError.OFFSET_OUT_OF_RANGE,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_TOPIC,
            KafkaError._UNKNOWN_PARTITION,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError._AUTHENTICATION,
        )
        if error.fatal() or error.code() in fatal:
            raise self._explained(error)
        now = time.monotonic()
        if now - self._logged > _LOG_EVERY:
            self._logged = now
            _log.warning("kafka does not answer, reading goes on when it does", cause=error.str())

    def _explained(self, error: Any) -> LogUnavailableError:
        code = error.code()
        if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            remedy = "the log no longer holds the offset to read on from: delete the replica, it is rebuilt from the newest whole snapshot"
        elif code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
            remedy = "there is no such topic: run `relay setup`, or check kafka.topic"
        else:
            remedy = "check kafka.bootstrap_servers and kafka.client"
        return LogUnavailableError(f"log topic {self._topic!r}: {error.str()}; {remedy}")
