"""What workers say they have just written, heard from Kafka on a thread of its own: hints for readers that watch.

Promised: `listener` is called on the event loop for every announcement that arrives after `began` was. Not promised: that
one arrives. A topic that is missing, a broker that is away, a record that can't be read: all are silence, said once
in the log; whoever watches looks by itself now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
from collections.abc import Callable

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from command_api.process.kafka_login import KafkaRefusedError, opened
from command_api.process.logging import get_logger
from command_api.process.settings import Kafka
from projections.partition_marks import Announcement

_POLL_S = 0.5
_STOP_S = 5.0

_log = get_logger(__name__)


class Hints:
    """listener: told of each announcement. began: called when it is listened, from which on none is missed. Usable between `start`, which may be repeated, and `stop`."""

    def __init__(self, settings: Kafka, listener: Callable[[Announcement], None], began: Callable[[], None]) -> None:
        self._settings = settings
        self._listener = listener
        self._began = began
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to listen; returns at once."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._listen, args=(loop,), name="hints", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _STOP_S)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        properties = {
            **self._settings.client_properties(),
            "group.id": f"lockstep-read-api-{secrets.token_hex(6)}",  # required; nothing is committed to it
            "client.id": "lockstep-read-api",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "fetch.wait.max.ms": 100,
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 10_000,
            "logger": logging.getLogger("librdkafka"),
        }
        try:
            consumer = opened(Consumer, properties)
        except KafkaRefusedError as error:
            _log.warning(
                "announcements can't be heard: watched partitions are looked at now and then", error=str(error)
            )
            return
        if self._positioned(consumer):
            _tell(loop, self._began)
        self._hear(loop, consumer)
        consumer.close()

    def _positioned(self, consumer: Consumer) -> bool:
        """Set the consumer to the topic's end, once there is one; False when it is to stop before."""
        partition, said = TopicPartition(self._settings.announcements, 0), False
        while not self._stopping.is_set():
            try:
                _, partition.offset = consumer.get_watermark_offsets(partition, timeout=_POLL_S)
                consumer.assign([partition])
                return True
            except KafkaException as error:
                if not said:
                    _log.warning("no announcements are heard yet", topic=partition.topic, error=str(error))
                said = True
                self._stopping.wait(_POLL_S)
        return False

    def _hear(self, loop: asyncio.AbstractEventLoop, consumer: Consumer) -> None:
        said = False
        while not self._stopping.is_set():
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            value = message.value()
            try:
                if message.error() is not None or value is None:
                    raise ValueError(str(message.error()))
                announcement = msgspec.msgpack.decode(value, type=Announcement)
            except (ValueError, msgspec.DecodeError) as error:
                if not said:
                    _log.warning("an announcement can't be heard", error=str(error))
                said = True
                continue
            _tell(loop, self._listener, announcement)


def _tell(loop: asyncio.AbstractEventLoop, listener: Callable[..., None], *arguments: Announcement) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody watches any more
        loop.call_soon_threadsafe(listener, *arguments)
