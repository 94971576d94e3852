"""``relay status``: slot, log and server side by side, and the reason if a relay could not start on them."""

from __future__ import annotations

from dataclasses import dataclass

from command_api.lsn import Lsn
from command_api.process.settings import Settings
from command_api.relay import continuity
from command_api.relay.catalog import Catalog
from command_api.relay.errors import RelayError
from command_api.relay.replication import ReplicationConnection
from command_api.relay.tail import read_tail


@dataclass(frozen=True, kw_only=True)
class Status:
    """lines: name and value, for people. problem: why a relay could not start, or empty."""

    lines: tuple[tuple[str, str], ...]
    problem: str


def read_status(settings: Settings) -> Status:
    """Ask all parts; what can't be reached is the problem, not an exception."""
    lines: list[tuple[str, str]] = []
    conninfo = settings.postgres.relay.get_secret_value()
    try:
        with Catalog(conninfo) as catalog, ReplicationConnection(conninfo) as connection:
            identity = connection.identify()
            slot = catalog.slot(settings.relay.slot)
            lines += [
                ("server", identity.text),
                ("written up to", str(Lsn(catalog.flushed()[0]))),
                ("slot", settings.relay.slot),
            ]
            if slot is not None:
                user = f"process {slot.active_pid}" if slot.active_pid else "nobody"
                lines += [
                    ("confirmed", str(slot.confirmed)),
                    ("retained", f"{slot.retained} bytes"),
                    ("streamed by", user),
                ]
            published = catalog.published_tables(settings.relay.publication)
            lines.append(("tables", ", ".join(f"{table.schema}.{table.name}" for table in published) or "none"))
            tail = read_tail(settings.kafka, at_least=slot.confirmed if slot is not None else 0)
            lines += [("log", f"{settings.kafka.topic}, {tail.records} records"), ("log ends at", str(tail.position))]
            flushed, _ = catalog.flushed()
        continuity.check(slot_name=settings.relay.slot, slot=slot, tail=tail, identity=identity, flushed=flushed)
    except RelayError as error:
        return Status(lines=tuple(lines), problem=str(error))
    return Status(lines=tuple(lines), problem="")
