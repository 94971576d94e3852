"""The replica's file: opened, made, checked against the program, and its position.

The position and every row change commit in one SQLite transaction. A file that was built for other columns or other
indexes is set aside by the caller and rebuilt from the log (`ReplicaMismatchError` says so); it is never altered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from projector.compile.functions import register
from projector.compile.program import Program
from projector.replica.deferred import CREATE as CREATE_DEFERRED
from projector.replica.deferred import is_foreign

FORMAT = 4
PAGE_BYTES = 16 * 1024  # of 4, 8 and 16 KiB the one whose rate fell least with 1,000,000 rows behind it
SMALL_PAGE_BYTES = 4 * 1024  # in memory a transaction copies each page before its first change
CACHE_KIB = 96 * 1024  # with 1,000,000 rows, 0.4 CPU seconds per 100,000 less of reading pages again than 64 MiB
IMAGES_CACHE_KIB = 32 * 1024


class ReplicaError(RuntimeError):
    """The replica's file can't be used; the message says where it is and what to do."""


class ReplicaMismatchError(ReplicaError):
    """The file was built for another program, log or epoch."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """What the replica has applied.

    lsn: end LSN of the last transaction or heartbeat. applied_lsn: of the last transaction. offset: the log offset to
    read on from. committed_at: commit time of the last transaction, microseconds. born: the log's end when this replica
    was begun, None before a worker has begun it.
    """

    lsn: int = 0
    applied_lsn: int = 0
    offset: int = 0
    committed_at: int = 0
    born: int | None = None


def open_replica(path: Path | None, program: Program, identity: str) -> sqlite3.Connection:
    """Open or make the replica; None keeps it in memory.

    identity: names the log that it is built from. Raises ReplicaMismatchError, ReplicaError.
    """
    try:
        connection = sqlite3.connect(path or ":memory:", isolation_level=None, cached_statements=1024)
        connection.execute(f"PRAGMA page_size={PAGE_BYTES if path else SMALL_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute("PRAGMA temp_store=FILE")  # a transaction of any size spills; a usual one stays in the cache
        # Nothing of a batch is read after a rollback, which ends the worker; a replica in memory is lent on after one.
        connection.execute(f"PRAGMA temp.journal_mode={'OFF' if path else 'MEMORY'}")
        connection.execute(f"PRAGMA temp.cache_size=-{IMAGES_CACHE_KIB}")
        connection.execute("PRAGMA case_sensitive_like=ON")  # as in Postgres
        # Pages, 256 MiB: behind 1,000,000 rows a batch changes thousands of an index's, most of them again in the next one, and
        # what is changed again before it is moved is moved once.
        connection.execute("PRAGMA wal_autocheckpoint=16000")
        if path is not None:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        register(connection)
        made = connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'replica'").fetchone()
        if made is None:
            _create(connection, program, identity)
        else:
            _check(connection, program, identity, path)
        for table in program.tables.values():
            connection.execute(table.create_images())
        for group in program.groups:
            for statement in group.create_temporary():
                connection.execute(statement)
        for model in program.models:
            connection.execute(model.create_touched())
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ReplicaError(
                f"the replica {path} is in use by another worker: give each worker its own file"
            ) from error
        raise ReplicaError(f"the replica {path} can't be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ReplicaError(f"the replica {path} is damaged ({error}): delete it, it is rebuilt from the log") from error
    return connection


def set_aside(path: Path) -> None:
    """Move a closed replica's file to ``<name>.aside``, over the one that was set aside before it."""
    path.replace(path.with_name(f"{path.name}.aside"))
    for suffix in ("-wal", "-shm"):  # there only when the last close did not come to its end
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


def explained(error: sqlite3.Error, path: Path) -> ReplicaError | None:
    """What to do about a replica that can't be written or read any more; None for an error of another kind."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of it tells kinds of one failure apart
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return ReplicaError(
            f"the replica {path} or SQLite's temporary folder can't be written ({error}): make space or let the worker"
            " write there, then start it again; it goes on from its last commit"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ReplicaError(f"the replica {path} is damaged ({error}): delete it, it is rebuilt from the log")
    return None


def read_position(connection: sqlite3.Connection) -> Position:
    """The position as last committed."""
    lsn, applied_lsn, offset, committed_at, born = connection.execute(
        "SELECT lsn, applied_lsn, log_offset, committed_at, born FROM main.replica"
    ).fetchone()
    return Position(lsn=lsn, applied_lsn=applied_lsn, offset=offset, committed_at=committed_at, born=born)


def write_position(connection: sqlite3.Connection, position: Position) -> None:
    """Set the position, inside the caller's transaction."""
    connection.execute(
        "UPDATE main.replica SET lsn = ?, applied_lsn = ?, log_offset = ?, committed_at = ?",
        (position.lsn, position.applied_lsn, position.offset, position.committed_at),
    )


def write_birth(connection: sqlite3.Connection, log_end: int) -> None:
    """Record the log's end at which the replica is begun, in a transaction of its own."""
    connection.execute("UPDATE main.replica SET born = ?", (log_end,))


def _create(connection: sqlite3.Connection, program: Program, identity: str) -> None:
    connection.execute("BEGIN")
    connection.execute(
        "CREATE TABLE main.replica (format INTEGER, fingerprint TEXT, identity TEXT,"
        " lsn INTEGER, applied_lsn INTEGER, log_offset INTEGER, committed_at INTEGER, born INTEGER)"
    )
    connection.execute(
        "INSERT INTO main.replica VALUES (?, ?, ?, 0, 0, 0, 0, NULL)", (FORMAT, program.fingerprint, identity)
    )
    connection.execute("CREATE TABLE main.skipped (log_offset INTEGER PRIMARY KEY)")
    creates: list[Iterable[str]] = [CREATE_DEFERRED]
    creates += [table.create() for table in program.tables.values()] + [group.create() for group in program.groups]
    creates.append(program.create_feeds())
    for statement in chain.from_iterable(creates):
        connection.execute(statement)
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, program: Program, identity: str, path: Path | None) -> None:
    built = connection.execute("SELECT format, fingerprint, identity FROM main.replica").fetchone()
    wanted = (FORMAT, program.fingerprint, identity)
    for what, have, want in zip(("format", "set of read models", "log"), built, wanted, strict=True):
        if have != want or (what == "set of read models" and is_foreign(connection, program)):
            connection.close()
            raise ReplicaMismatchError(
                f"the replica {path} was built for another {what}: it is to be rebuilt from the log"
            )
