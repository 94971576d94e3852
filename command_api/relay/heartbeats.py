"""``relay heartbeats``: the part of the relay that stays when a stock Debezium connector takes its place.

A stock connector's heartbeats carry no position, so on a database where nothing published happens no read model would
cover a token, and the slot would pin WAL. This process says so in the stream itself: when WAL was written since it last
spoke, it commits a message (`envelope.HEARTBEAT_PREFIX`), whose END then carries a position above all of it; and where
nothing is written, one a second says up to when. Its content is the server's history, which a connector's records lack:
the log's end tells whoever goes on whether it is his.

It also looks after what a stock connector passes over in silence: before it begins, that slot, log and server belong
together (`continuity`), and from then on that the slot is there and whole; a connector makes a missing slot anew and
goes on behind the gap. Not promised: that a connector streams. `relay status` shows who does.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import psycopg
from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter

from command_api.envelope import HEARTBEAT_PREFIX
from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from command_api.relay import continuity
from command_api.relay.catalog import Catalog
from command_api.relay.errors import HistoryError, SourceUnavailableError, TransientError
from command_api.relay.replication import ReplicationConnection
from command_api.relay.tail import read_tail

PACE_S: Final = 0.1  # a message is a commit of its own, which the relay's heartbeats are not
IDLE_S: Final = 1.0  # between two where nothing else is written
LOOK_S: Final = 3.0  # between two looks at the slot

_log = get_logger(__name__)


def run(settings: Settings, stop: threading.Event, *, pace_s: float = PACE_S, look_s: float = LOOK_S) -> None:
    """Send heartbeats until `stop` is set; raises StoppedError when a connector's log can't be trusted any more."""
    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=wait_exponential_jitter(multiplier=0.1, max=10, jitter=0.1),
        stop=stop_when_event_set(stop),
        sleep=lambda seconds: _wait(stop, seconds),
        before_sleep=lambda attempt: _log.warning(
            "no heartbeats; trying again", error=str(attempt.outcome.exception() if attempt.outcome else "")
        ),
        reraise=True,
    )
    try:
        for attempt in retrying:
            with attempt:
                _beat(settings, stop, pace_s, look_s)
    except TransientError:
        if not stop.is_set():
            raise


def _beat(settings: Settings, stop: threading.Event, pace_s: float, look_s: float) -> None:
    name = settings.relay.slot
    conninfo = settings.postgres.relay.get_secret_value()
    with Catalog(conninfo) as catalog:
        with ReplicationConnection(conninfo) as connection:
            identity = connection.identify()
        slot = catalog.slot(name)
        tail = read_tail(settings.kafka, at_least=slot.confirmed if slot is not None else 0)
        flushed, _ = catalog.flushed()
        position = continuity.check(slot_name=name, slot=slot, tail=tail, identity=identity, flushed=flushed)
        _log.info("heartbeats", slot=name, position=str(position), history=identity.text)
        said, spoken, looked = 0, 0.0, time.monotonic()
        while not stop.wait(pace_s):
            if due(catalog.flushed()[0] - said, time.monotonic() - spoken):
                _say(catalog, identity.text)
                said, spoken = catalog.flushed()[0], time.monotonic()
            if time.monotonic() - looked > look_s:
                looked = time.monotonic()
                slot = catalog.slot(name)
                if slot is None or slot.lost:
                    raise HistoryError(
                        f"the slot {name!r} is {'gone' if slot is None else f'invalidated ({slot.lost})'}:"
                        f" a connector would go on behind a gap",
                        hint=f"Stop the connector. {continuity.NEW_HISTORY}",
                    )


def due(written: int, silent_s: float) -> bool:
    """Whether to speak, so many bytes of WAL and seconds after the last word."""
    return written > 0 or silent_s > IDLE_S


def _say(catalog: Catalog, history: str) -> None:
    try:
        catalog.connection.execute("select pg_logical_emit_message(true, %s, %s)", (HEARTBEAT_PREFIX, history))
    except psycopg.Error as error:
        raise SourceUnavailableError(f"a heartbeat could not be written: {error}") from error


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)
