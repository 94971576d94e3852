"""Whether the log can be read now, asked beside the reader.

With a client of its own: a question to the reader's waits as long as the reader polls, which on a quiet log is always.
"""

from __future__ import annotations

import logging

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from command_api.process.settings import Kafka


class LogProbe:
    """Connects when it is made, and again by itself."""

    def __init__(self, settings: Kafka) -> None:
        self._topic = settings.topic
        properties = {**settings.client_properties(), "client.id": "lockstep-projector-probe"}
        properties |= {"reconnect.backoff.max.ms": 2_000, "allow.auto.create.topics": False}
        self._client = AdminClient(properties, logger=logging.getLogger("librdkafka"))

    def answers(self, timeout_s: float = 2.0) -> bool:
        """Whether a broker answers in time and has the topic. Any thread may ask."""
        try:
            found = self._client.list_topics(self._topic, timeout=timeout_s).topics.get(self._topic)
        except KafkaException:
            return False
        return found is not None and found.error is None
