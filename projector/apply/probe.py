"""Whether the log can be read now, asked beside the reader.

With a client of its own: a question to the reader's waits as long as the reader polls, which on a quiet log is always.
"""

from __future__ import annotations

import logging
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from command_api.process.settings import Kafka


class LogProbe:
    """Connects when it is made, and again by itself; after a while without an answer by another client (`LogReader` says why)."""

    def __init__(self, settings: Kafka) -> None:
        self._topic = settings.topic
        self._silence_s = settings.silence_ms / 1000
        self._properties = settings.client_properties() | {
            "client.id": "lockstep-projector-probe",
            "reconnect.backoff.max.ms": 2_000,
            "allow.auto.create.topics": False,
        }
        self._client = self._opened()
        self._failing_since: float | None = None

    def _opened(self) -> AdminClient:
        return AdminClient(self._properties, logger=logging.getLogger("librdkafka"))

    def answers(self, timeout_s: float = 2.0) -> bool:
        """Whether a broker answers in time and has the topic. Any thread may ask."""
        try:
            found = self._client.list_topics(self._topic, timeout=timeout_s).topics.get(self._topic)
        except KafkaException:
            now = time.monotonic()
            self._failing_since = self._failing_since or now
            if now - self._failing_since >= self._silence_s:
                self._client, self._failing_since = self._opened(), None
            return False
        self._failing_since = None
        return found is not None and found.error is None
