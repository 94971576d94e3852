"""A replication connection to Postgres: libpq's COPY-BOTH through ``psycopg.pq``, with no thread or buffer of its own.

Promised: frames in the order in which the server sent them, and libpq's errors as SourceUnavailableError (waiting may
help) or SetupError (it won't). Not promised: anything about what a frame holds; `transactions` knows.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGresult

from command_api.lsn import Lsn
from command_api.process.postgres_login import refusal
from command_api.relay.encodings import SESSION
from command_api.relay.errors import RelayError, SetupError, SourceUnavailableError
from command_api.relay.pgoutput import POSTGRES_EPOCH

_STATUS: Final = struct.Struct(">cQQQqB")
_CONNINFO: Final = "postgres.relay (for set-up and snapshots, postgres.admin)"
_RECEIVED_PERMANENT: Final = {
    "28P01": f"Check user and password in {_CONNINFO}",
    "28000": f"Check user in {_CONNINFO}, and pg_hba.conf",
    "3D000": f"Check dbname in {_CONNINFO}",
    "42501": "The relay's role needs the REPLICATION attribute: run `relay setup`",
    "42704": "Run `relay setup`",
    "58P01": "Run `relay setup`",
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which history a server writes. text: how the log records it, ``system identifier/timeline``."""

    system: str
    timeline: int
    database: str

    @property
    def text(self) -> str:
        """``system identifier/timeline``."""
        return f"{self.system}/{self.timeline}"


@dataclass(frozen=True, kw_only=True)
class ExportedSlot:
    """A slot just created: its consistent point, and the snapshot that shows the database exactly there."""

    consistent_point: Lsn
    snapshot: str


def with_session(conninfo: str, **parameters: str) -> str:
    """The conninfo with the settings that fix how values are printed, and more parameters."""
    given = conninfo_to_dict(conninfo)
    options = " ".join([str(given.get("options") or ""), *(f"-c {name}={value}" for name, value in SESSION.items())])
    return make_conninfo(
        conninfo,
        options=options.strip(),
        client_encoding="UTF8",
        application_name=given.get("application_name") or "relay",
        **parameters,
    )


class ReplicationConnection:
    """One walsender connection; use it as a context manager.

    last_status, last_heard: monotonic seconds of the last status sent, and of the last bytes received.
    asked_at: of the first request for a sign of life since then; 0 for none.
    """

    def __init__(self, conninfo: str, *, timeout_s: float = 10.0) -> None:
        """Connect within `timeout_s`; raises SourceUnavailableError or SetupError."""
        text = with_session(conninfo, replication="database", connect_timeout=str(max(2, int(timeout_s))))
        self._pg = pq.PGconn.connect(text.encode())
        if self._pg.status != pq.ConnStatus.OK:
            message = self._pg.get_error_message()
            self._pg.finish()
            raise connect_error(message)
        self.last_status = self.last_heard = time.monotonic()
        self.asked_at = 0.0
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)

    def __enter__(self) -> ReplicationConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close at once; the slot becomes free."""
        self._pg.finish()

    def identify(self) -> Identity:
        """IDENTIFY_SYSTEM."""
        system, timeline, _, database = self._row("IDENTIFY_SYSTEM")
        return Identity(system=system, timeline=int(timeline), database=database)

    def create_slot(self, name: str, *, temporary: bool = False) -> ExportedSlot:
        """Make a pgoutput slot; its snapshot lives until the next command. Waits for running transactions to end."""
        kind = " TEMPORARY" if temporary else ""
        row = self._row(f"CREATE_REPLICATION_SLOT {_quoted(name)}{kind} LOGICAL pgoutput (SNAPSHOT 'export')")
        return ExportedSlot(consistent_point=Lsn.parse(row[1]), snapshot=row[2])

    def start(self, slot: str, publication: str) -> None:
        """Take the slot and stream from its confirmed position; raises SourceUnavailableError when it is in use."""
        self._run(
            f"START_REPLICATION SLOT {_quoted(slot)} LOGICAL 0/0"
            f" (proto_version '1', publication_names {_literal(_quoted(publication))}, messages 'true')",
            pq.ExecStatus.COPY_BOTH,
        )

    def frames(self, limit: int) -> Iterator[bytes]:
        """Up to `limit` frames that are here already; raises SourceUnavailableError when the stream has ended."""
        receive = self._pg.get_copy_data
        for _ in range(limit):
            try:
                size, frame = receive(1)
            except Exception as error:
                raise self._broken() from error
            if size > 0:
                yield bytes(frame)
            elif size == 0:
                # libpq has handed out all that it has read; the socket may hold more.
                if not self.wait(0):
                    return
            else:
                raise self._broken()

    def wait(self, timeout_s: float) -> bool:
        """Wait for bytes from the server; True when some came."""
        try:
            if not self._poll.poll(timeout_s * 1000):
                return False
            self._pg.consume_input()
        except Exception as error:
            raise self._broken() from error
        self.last_heard, self.asked_at = time.monotonic(), 0.0
        return True

    def send_status(self, confirmed: int, *, reply: bool = False) -> None:
        """Tell the server that everything up to `confirmed` is safe; `reply` asks for its position at once."""
        now = time.time_ns() // 1000 - POSTGRES_EPOCH
        try:
            self._pg.put_copy_data(_STATUS.pack(b"r", confirmed, confirmed, confirmed, now, reply))
            self._pg.flush()
        except Exception as error:
            raise self._broken() from error
        self.last_status = time.monotonic()
        if reply and not self.asked_at:
            self.asked_at = self.last_status

    def _broken(self) -> RelayError:
        message = self._pg.get_error_message().strip()
        try:
            while result := self._pg.get_result():
                message = result.get_error_message().strip() or message
                if result.status == pq.ExecStatus.COPY_BOTH:
                    break
        except Exception as error:
            message = message or str(error)
        return SourceUnavailableError(f"the replication stream ended: {message or 'connection closed'}")

    def _run(self, command: str, expected: int) -> PGresult:
        try:
            result = self._pg.exec_(command.encode())
        except Exception as error:
            raise SourceUnavailableError(f"{command.split()[0]} failed: {error}") from error
        if result.status != expected:
            state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            message = f"{command.split()[0]} failed: {result.get_error_message().strip()}"
            if state in _RECEIVED_PERMANENT:
                raise SetupError(message, hint=_RECEIVED_PERMANENT[state])
            raise SourceUnavailableError(message)
        return result

    def _row(self, command: str) -> tuple[str, ...]:
        result = self._run(command, pq.ExecStatus.TUPLES_OK)
        return tuple((result.get_value(0, i) or b"").decode() for i in range(result.nfields))


def connect_error(message: str) -> RelayError:
    """Tell a server that is away, which waiting mends, from a wrong password or certificate, which it does not."""
    text = message.strip()
    check = refusal(text)
    if check is not None:
        return SetupError(f"Postgres refused the relay: {text}", hint=f"Check {check} in {_CONNINFO}")
    if "permission denied to start WAL sender" in text:
        return SetupError(
            f"Postgres refused the relay: {text}",
            hint="The relay's role needs the REPLICATION attribute: run `relay setup`",
        )
    return SourceUnavailableError(f"Postgres can't be reached: {text}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
