"""Keys of repeated requests, kept in the command's own transaction: a reply is remembered exactly when its effect is.

    claim    insert the key; a transaction that holds it is waited for, and when that one commits, its reply returned.
    record   in the same transaction, the reply without its token (the token exists only after the commit).
    token    after the commit, on the same connection: the token, written once; whoever comes first decides it.
    settle   a refusal: its transaction was rolled back, so it is remembered by a statement of its own.

A key past its `expires_at` counts as new. Not promised: that a key outlives its time, or that a refusal survives a
crash between the rollback and `settle` (the repeated request is then judged anew, which is as good).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import msgspec

from command_api.database import Connection
from command_api.errors import BadRequestError, KeyReusedError
from command_api.footprint import EVERYTHING, FLUSH

MAX_KEY_CHARACTERS = 255
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_PURGE_ROWS = 5_000


@dataclass(frozen=True, kw_only=True)
class Key:
    """An Idempotency-Key and the SHA-256 of the request that it stands for."""

    text: str
    fingerprint: bytes


@dataclass(frozen=True, kw_only=True)
class StoredReply:
    """A reply as it is remembered.

    body: the bytes of a JSON object with a member at least, without the token.
    token: its text, once it has been given.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    token: str | None = None


def parse_key(header: str | None) -> str | None:
    """Read the header; raises BadRequestError for an empty, too long or unprintable key."""
    if header is None:
        return None
    if not _KEY.fullmatch(header):
        raise BadRequestError(
            f"the Idempotency-Key header is not 1 to {MAX_KEY_CHARACTERS} printable ASCII characters",
            hint="send a fresh UUID for each new command, and the same one when repeating it",
        )
    return header


def fingerprint(*parts: bytes) -> bytes:
    """The digest of what is asked for; parts can't be shifted into one another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()


async def claim(connection: Connection, key: Key, lifetime: timedelta) -> StoredReply | None:
    """Take the key for the current transaction, or return the reply that it already stands for.

    Raises KeyReusedError when it stands for another request.
    """
    cursor = await connection.execute(
        """
        insert into idempotency_keys as k (key, fingerprint, expires_at) values (%s, %s, now() + %s)
        on conflict (key) do update
            set fingerprint = excluded.fingerprint, expires_at = excluded.expires_at, created_at = now(),
                status = null, headers = null, body = null, token = null
            where k.expires_at <= now()
        """,
        (key.text, key.fingerprint, lifetime),
    )
    return None if cursor.rowcount else await _stored(connection, key)


async def _stored(connection: Connection, key: Key) -> StoredReply:
    cursor = await connection.execute(
        "select fingerprint, status, headers::text, body::text, token from idempotency_keys where key = %s", (key.text,)
    )
    row = cast("tuple[bytes, int, str, str, str | None] | None", await cursor.fetchone())
    assert row is not None, "a claimed key is deleted by the purge only once it has expired"
    if row[0] != key.fingerprint:
        raise KeyReusedError(
            "this Idempotency-Key was first sent with another method, path, If-Match or body",
            hint="use a fresh key for a new command; repeat a command exactly as it was first sent",
        )
    return StoredReply(status=row[1], headers=msgspec.json.decode(row[2]), body=row[3].encode(), token=row[4])


async def record(connection: Connection, key: Key, reply: StoredReply) -> None:
    """Remember the reply in the transaction that claimed the key."""
    await connection.execute(
        "update idempotency_keys set status = %s, headers = %s::json, body = %s::json where key = %s",
        (reply.status, msgspec.json.encode(reply.headers).decode(), reply.body.decode(), key.text),
    )


async def settle(connection: Connection, key: Key, refusal: StoredReply, lifetime: timedelta) -> StoredReply:
    """Remember a refusal and return it, or return what a concurrent duplicate has made of the key meanwhile."""
    async with connection.transaction():
        stored = await claim(connection, key, lifetime)
        if stored is None:
            await record(connection, key, refusal)
        return stored or refusal


async def token(connection: Connection, key: Key | None, template: str = EVERYTHING) -> str:
    """The token of a commit, made by `template` of the position flushed now; for a key the one that was first given."""
    if key is not None:
        # Two duplicates may get here at once: the row lock orders them, and both return what the first one wrote.
        cursor = await connection.execute(
            f"""
            update idempotency_keys set token = coalesce(token, format(%s, pg_current_wal_flush_lsn()))
            where key = %s returning token, {FLUSH}
            """,
            (template, key.text),
        )
        row = await cursor.fetchone()
        if row is not None:
            return str(row[0])
    cursor = await connection.execute(f"select format(%s, pg_current_wal_flush_lsn()), {FLUSH}", (template,))
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def purge(connection: Connection) -> int:
    """Delete the expired keys, in transactions of a bounded size; returns how many there were."""
    total = 0
    while True:
        cursor = await connection.execute(
            """
            delete from idempotency_keys where key = any(array(
                select key from idempotency_keys where expires_at <= now() order by expires_at
                limit %s for update skip locked))
            """,
            (_PURGE_ROWS,),
        )
        total += cursor.rowcount
        if cursor.rowcount < _PURGE_ROWS:
            return total
