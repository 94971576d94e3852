"""What can go wrong in capture, as a drawn hierarchy; drivers' errors become these where the driver is called.

RelayError                what happened, where; `hint` says what to do
├── TransientError        the loop waits and starts over from the end of the log
│   ├── SourceUnavailableError   Postgres is away, restarting, or the slot is in another process's hands
│   ├── LogUnavailableError      Kafka is away
│   └── DeliveryError            a record was refused: nothing after it may be confirmed
└── StoppedError          going on could lose or invent changes, so the process ends with the reason
    ├── SetupError               publication, slot or topic is missing or unfit
    ├── HistoryError             the slot and the log are not of one history
    └── PgoutputError            bytes from the server that are not the protocol
"""

from __future__ import annotations


class RelayError(Exception):
    """Any error of the relay; `hint` is a sentence for the operator, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}. {self.hint}" if self.hint else message


class TransientError(RelayError):
    """Waiting and starting over may help."""


class SourceUnavailableError(TransientError):
    """Postgres can't be reached, or has closed the connection, or another process streams the slot."""


class LogUnavailableError(TransientError):
    """Kafka can't be reached."""


class DeliveryError(TransientError):
    """Kafka refused a record; the stream must start over from what the log holds."""


class StoppedError(RelayError):
    """Going on could lose or invent changes."""


class SetupError(StoppedError):
    """The publication, the slot, a table or the topic is missing or unfit."""


class HistoryError(StoppedError):
    """The slot and the log don't belong to one history."""


class PgoutputError(StoppedError):
    """Bytes that are not pgoutput, or that contradict what the stream said before."""
