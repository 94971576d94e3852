"""Carry out one command: its transaction, its idempotency key, its consistency token; once, whatever breaks meanwhile.

    take a connection ─ begin ─ claim key ─ work ─ record reply ─ commit ─ token
                          │         └ known: the first reply again        └ lost here: from any other connection
                          └ refused: rolled back, the refusal remembered

A connection lost before the commit was sent has written nothing: another try. Lost while committing, the outcome is
unknown: with a key another try finds out, without one the caller is told so. Deadlocks and serialization failures are
another try too. Everything together is bounded by a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import psycopg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from command_api import idempotency
from command_api.commands.outcome import Outcome
from command_api.database import Connection, Database, unavailable
from command_api.errors import CommandApiError, OutcomeUnknownError, RefusedError, UnavailableError
from command_api.footprint import EVERYTHING, footprint
from command_api.idempotency import Key, StoredReply
from command_api.preconditions import etag
from command_api.problems import body_of
from command_api.process.consistency import ConsistencyToken, merged
from command_api.process.logging import get_logger

Work = Callable[[Connection], Awaitable[Outcome]]

_log = get_logger(__name__)
_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the caller gets. token: it covers everything that the reply speaks of, and what `earlier` was about."""

    stored: StoredReply
    token: ConsistencyToken
    repeated: bool


class _TryAgainError(Exception):
    """Nothing was written, or a key will tell; `final` is what to say when the tries are used up."""

    def __init__(self, final: CommandApiError) -> None:
        super().__init__(str(final))
        self.final = final


@dataclass
class _Progress:
    """How far an attempt got, for judging what an error means; `in_doubt` outlives it: an earlier one may have committed.

    template: of the token, see `footprint`. earlier: the token that came with the request.
    """

    commit_sent: bool = False
    committed: StoredReply | None = None
    repeated: bool = False
    in_doubt: bool = False
    template: str = EVERYTHING
    earlier: ConsistencyToken | None = None

    def restart(self) -> None:
        """Begin another attempt."""
        self.commit_sent, self.committed, self.repeated, self.template = False, None, False, EVERYTHING

    def reply(self, stored: StoredReply, token: str) -> Reply:
        """The reply with its token."""
        own = ConsistencyToken.parse(token)
        token_of_both = own if self.earlier is None else merged((own, self.earlier))
        return Reply(stored=stored, token=token_of_both, repeated=self.repeated)


class Executor:
    """Runs commands on `database`; `lifetime` is how long a key is remembered, `deadline_s` bounds a whole command."""

    def __init__(self, database: Database, *, lifetime: timedelta, deadline_s: float) -> None:
        self._database = database
        self._lifetime = lifetime
        self._deadline_s = deadline_s

    async def run(self, work: Work, key: Key | None, earlier: ConsistencyToken | None = None) -> Reply:
        """Carry out `work` in one transaction; a refusal is a Reply too. Raises the other CommandApiErrors.

        earlier: the token of what the caller did or read before, which the reply's token then covers too.
        """
        progress = _Progress(earlier=earlier)
        try:
            async with asyncio.timeout(self._deadline_s):
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception_type(_TryAgainError),
                    stop=stop_after_attempt(_ATTEMPTS),
                    wait=wait_random(0, 0.02),
                    reraise=True,
                ):
                    with attempt:
                        progress.restart()
                        return await self._attempt(work, key, progress)
        except _TryAgainError as error:
            raise error.final from error
        except TimeoutError as error:
            if progress.commit_sent or progress.in_doubt:
                raise OutcomeUnknownError("the database did not answer the commit in time") from error
            raise UnavailableError("the database did not answer in time") from error
        except UnavailableError as error:
            # "Nothing was written" holds for the last attempt only.
            raise OutcomeUnknownError(error.detail) if progress.in_doubt else error from error
        raise AssertionError("unreachable: the last attempt is raised again")

    async def _attempt(self, work: Work, key: Key | None, progress: _Progress) -> Reply:
        connection: Connection | None = None
        try:
            async with self._database.connection() as connection:
                try:
                    reply = await self._transact(connection, work, key, progress)
                except psycopg.errors.FeatureNotSupported:
                    # A prepared statement whose result has another type since a migration. The rollback has made
                    # psycopg forget its statements, so on this same connection it prepares them anew.
                    progress.restart()
                    reply = await self._transact(connection, work, key, progress)
                progress.committed = reply
                token = reply.token or await idempotency.token(connection, key, progress.template)
                return progress.reply(reply, token)
        except psycopg.Error as error:
            if progress.committed is None:
                raise await self._judged(error, connection, key, progress) from error
            return progress.reply(progress.committed, await self._token_elsewhere(key))

    async def _transact(self, connection: Connection, work: Work, key: Key | None, progress: _Progress) -> StoredReply:
        try:
            async with connection.transaction():
                if key is not None:
                    known = await idempotency.claim(connection, key, self._lifetime)
                    if known is not None:
                        progress.repeated = True
                        return known
                reply = _reply(await work(connection))
                written = await footprint(connection)
                if written is not None:
                    progress.template = written.template(progress.earlier)
                if key is not None:
                    await idempotency.record(connection, key, reply)
                progress.commit_sent = True
        except RefusedError as error:
            refusal = StoredReply(status=error.status, headers=dict(error.headers), body=body_of(error))
            if key is None:
                return refusal
            settled = await idempotency.settle(connection, key, refusal, self._lifetime)
            progress.repeated = settled is not refusal
            return settled
        return reply

    async def _judged(
        self, error: Exception, connection: Connection | None, key: Key | None, progress: _Progress
    ) -> Exception:
        known = unavailable(error)
        if known is None:
            return error
        _log.warning("database error", error=str(error), kind=type(error).__name__, commit_sent=progress.commit_sent)
        if connection is not None and connection.closed:
            await self._database.drop_broken()
            if not progress.commit_sent:
                return _TryAgainError(known)
            progress.in_doubt = True
            unknown = OutcomeUnknownError("the connection to the database ended while the command was committing")
            return unknown if key is None else _TryAgainError(unknown)
        if isinstance(error, (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)):
            return _TryAgainError(known)
        return known

    async def _token_elsewhere(self, key: Key | None) -> str:
        # The commit has returned: the flushed position of the same primary, on any connection, is at or after it.
        # A standby has none to give (the function fails in recovery), so it can't be mistaken for one.
        try:
            await self._database.drop_broken()
            async with self._database.connection() as connection:
                return await idempotency.token(connection, key)
        except psycopg.Error as error:
            raise OutcomeUnknownError(
                "the command was carried out, but the database went away before its token could be read"
            ) from error


def _reply(outcome: Outcome) -> StoredReply:
    headers: dict[str, str] = {}
    if outcome.version is not None:
        headers["ETag"] = etag(outcome.version)
    if outcome.created is not None:
        headers["Location"] = outcome.created
    return StoredReply(
        status=200 if outcome.created is None else 201, headers=headers, body=msgspec.json.encode(outcome.body)
    )
