"""Waits for what an AdminClient was asked, without handing the client to librdkafka's thread.

The library answers on a thread of the client's own, which keeps the answer for a moment longer. An answer that is an error
and is raised holds, by its traceback, the frame of whoever asked, and with it the client: when that thread lets go of it
last, the client is destroyed on its own thread, which librdkafka forbids by ending the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException


def settled(answers: Iterable[Future[Any]], timeout_s: float) -> None:
    """Return when each has come. Raises KafkaException as the first error does, TimeoutError after `timeout_s` seconds."""
    for answer in answers:
        error = answer.exception(timeout_s)
        if isinstance(error, KafkaException):
            raise KafkaException(*error.args)  # another one: the answer's own stays without a traceback
        if error is not None:
            raise RuntimeError(f"the Kafka client failed to answer: {error!r}")
