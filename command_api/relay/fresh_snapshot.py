"""``relay snapshot``: a whole snapshot into a log that goes on, at exactly its place in the order of commits.

    make a temporary slot            its consistent point P, and a snapshot of the database at P
    take the relay's own slot        so that nobody else writes the log
    publish what commits below P     then stop before the first transaction that commits at or above P
    write the snapshot               a transaction of ``r`` records that ends at P

The relay must not run meanwhile; the next ``relay run`` goes on after P. Whoever has state up to P already may skip the
snapshot, as it skips anything that ends at or below its position; it is there for those who build their state anew.
If it fails, the log is as before, with an unfinished transaction at most.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from command_api.relay.catalog import Catalog
from command_api.relay.errors import LogUnavailableError, SetupError
from command_api.relay.loop import Session, compile_with
from command_api.relay.metrics import RelayState
from command_api.relay.publish import Publisher
from command_api.relay.replication import ReplicationConnection
from command_api.relay.rows import Origin
from command_api.relay.setup import SetupReport
from command_api.relay.snapshot import write_snapshot
from command_api.relay.transactions import Transactions

_log = get_logger(__name__)
_STATUS_S: Final = 5.0
_FLUSH_S: Final = 60.0
_BEGIN: Final = ord("B")


def fresh_snapshot(settings: Settings) -> SetupReport:
    """Write a snapshot of the published tables; raises SetupError while a relay runs, or as `relay run` does."""
    admin, relay = settings.postgres.admin.get_secret_value(), settings.relay
    with (
        Catalog(admin) as catalog,
        ReplicationConnection(admin) as exporter,
        ReplicationConnection(settings.postgres.relay.get_secret_value()) as connection,
    ):
        identity = connection.identify()
        slot = catalog.slot(relay.slot)
        if slot is not None and slot.active_pid is not None:
            raise SetupError(f"a relay streams the slot {relay.slot!r}", hint="Stop it for the time of the snapshot")
        tables = catalog.published_tables(relay.publication)
        _log.info("making a temporary slot; this waits for the transactions that are running now")
        exported = exporter.create_slot(f"{relay.slot}_snapshot", temporary=True)
        point = exported.consistent_point
        position = Session(settings, RelayState(), threading.Event()).take(catalog, connection, identity)
        if position > point:
            raise SetupError(f"the log has passed the snapshot's point {point}", hint="Stop the relay that runs")

        def keep_alive() -> None:
            if time.monotonic() - connection.last_status > _STATUS_S:
                connection.send_status(publisher.confirmed)

        def emit(key: bytes | None, value: bytes) -> None:
            publisher.publish(key, value)
            keep_alive()

        origin = Origin(name=relay.database_name, database=identity.database)
        publisher = Publisher(settings.kafka, confirmed=position, on_wait=keep_alive, give_up_s=_FLUSH_S)
        try:
            _publish_up_to(
                point,
                connection,
                publisher,
                Transactions(
                    emit=emit,
                    compile_relation=compile_with(catalog, origin),
                    on_type=catalog.forget,
                    history=identity.text,
                    resume_at=position,
                ),
            )
            rows = write_snapshot(
                catalog=catalog,
                exported=exported,
                tables=tables,
                origin=origin,
                history=identity.text,
                emit=emit,
                on_table=lambda table, count: _log.info("snapshot", table=table, rows=count),
            )
            publisher.mark(point)
            if not publisher.flush(_FLUSH_S):
                raise LogUnavailableError(f"Kafka has not acknowledged the snapshot within {_FLUSH_S:.0f} s")
            connection.send_status(publisher.confirmed)
        finally:
            publisher.close()
    names = tuple(f"{table.schema}.{table.name}" for table in tables)
    return SetupReport(tables=names, position=Lsn(point), snapshot_rows=rows)


def _publish_up_to(
    point: int, connection: ReplicationConnection, publisher: Publisher, transactions: Transactions
) -> None:
    """Publish every transaction that commits below the point, and no other."""
    while True:
        for frame in connection.frames(2_000):
            if frame[:1] == b"k":
                if not transactions.inside and int.from_bytes(frame[1:9], "big") >= point:
                    return
                if frame[17]:
                    connection.send_status(publisher.confirmed)
                continue
            if frame[25] == _BEGIN and int.from_bytes(frame[26:34], "big") >= point:
                return
            end = transactions.feed(frame)
            if end:
                publisher.mark(end)
        publisher.service()
        if not connection.wait(0.2):
            # Postgres says how far it is when it is asked.
            connection.send_status(publisher.confirmed, reply=True)
