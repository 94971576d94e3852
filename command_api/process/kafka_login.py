"""Whether Kafka lets a client in: librdkafka tells a refusal to a callback only, and tries again for ever.

`opened` makes a client and `reached` waits for its first answer. Both raise KafkaRefusedError, whose message names the
setting, for what waiting can't mend: properties that librdkafka does not take, a login or a certificate that is refused.
A refusal counts when no other broker has answered `GRACE_S` later. Not promised: anything about a client that was let in
once; librdkafka reconnects by itself then, and says what is wrong in its own log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

GRACE_S: Final = 1.5
_FIRST_WAIT_S: Final = 0.5
_SETTINGS: Final = {
    KafkaError._AUTHENTICATION: "sasl.mechanism, sasl.username and sasl.password in kafka.client",
    KafkaError._SSL: "the ssl.… properties in kafka.client (ssl.ca.location) and the host names in kafka.bootstrap_servers",
}


class KafkaRefusedError(Exception):
    """Kafka or librdkafka refuses this client's properties; the message names the setting, never its value."""


class Refusals:
    """The ``error_cb`` of a client: remembers the last refusal, and when the first one came."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None
        self.since = 0.0

    def __call__(self, error: KafkaError) -> None:
        """Called by librdkafka, while the client is polled."""
        if error.code() in _SETTINGS:
            self.since = self.since if self.last is not None else time.monotonic()
            self.last = error


class _Client(Protocol):
    def poll(self, timeout: float, /) -> Any: ...

    def list_topics(self, *, timeout: float) -> Any: ...


_Made = TypeVar("_Made")


def opened(kind: Callable[[dict[str, Any]], _Made], properties: dict[str, Any]) -> _Made:
    """A client of librdkafka. Raises KafkaRefusedError."""
    try:
        return kind(properties)
    except KafkaException as error:
        # A value may stand where another one belongs, so none is repeated.
        text = re.sub(r'Invalid value ".*" for', "Invalid value for", error.args[0].str())
        raise KafkaRefusedError(f"librdkafka does not take the settings ({text}): check kafka.client") from error


def reached(client: _Client, refusals: Refusals, timeout_s: float) -> Any:
    """The cluster's metadata, all topics; `refusals` is the client's ``error_cb``.

    Raises KafkaRefusedError, or KafkaException when nobody has answered within `timeout_s` seconds.
    """
    until, wait = time.monotonic() + timeout_s, _FIRST_WAIT_S
    while True:
        left = until - time.monotonic()
        try:
            return client.list_topics(timeout=max(0.1, min(wait, left)))
        except KafkaException:
            client.poll(0)  # callbacks run here only
            if refusals.last is not None and time.monotonic() - refusals.since >= GRACE_S:
                raise KafkaRefusedError(
                    f"Kafka refuses the connection ({refusals.last.str()}): check {_SETTINGS[refusals.last.code()]}"
                ) from None
            if left <= wait:
                raise
            # A large cluster's metadata may need longer than the first wait; a refusal need not.
            wait = wait if refusals.last is not None else wait * 2
