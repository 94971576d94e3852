"""Clients that share registers and judge every reply: a register is a user's name, written by one client, read by all.

    write v of r   through the command API, with the client's token; repeated until it is known to be done
    read of r      through either read API, with the client's token; never below what the client knows r to be at least
    hand over      the token and what its holder knows, to whoever reads next: telling somebody is an order too

What a client knows is what it wrote, what it was shown, and what it was told together with a token. A reply below that is
older than its token or takes back what was shown (not monotonic); one above what was ever sent is invented.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg

from command_api.process.consistency import ConsistencyToken, merged


class Board:
    """What all clients share. token: of the registers' making, at version 0.

    sent: the highest version that was ever sent, by register. told: what one may tell others.
    """

    def __init__(self, registers: Sequence[UUID], posts: dict[UUID, UUID], token: ConsistencyToken) -> None:
        self.registers = tuple(registers)
        self.posts = posts
        self.token = token
        self.sent = dict.fromkeys(registers, 0)
        self.told: dict[int, tuple[ConsistencyToken, dict[UUID, int]]] = {}
        self.stop = threading.Event()


def new_board(conninfo: str, number: int, rng: Random) -> Board:
    """So many registers, each a user and a post of the user's, as rows in Postgres."""
    registers = [UUID(int=rng.getrandbits(128)) for _ in range(number)]
    posts = {register: uuid4() for register in registers}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for register, post in posts.items():
            connection.execute("insert into users (user_id, name) values (%s, 'v0')", (register,))
            connection.execute("insert into posts (post_id, author_id, body) values (%s, %s, 'x')", (post, register))
        row = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return Board(registers, posts, ConsistencyToken.parse(row[0]))


class Client(threading.Thread):
    """One client with registers of its own. done: operations by kind. wrong: what was judged so. refused: 503s. error: of the thread."""

    def __init__(
        self, number: int, own: Sequence[UUID], board: Board, commands: str, reads: Sequence[str], rng: Random
    ) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.refused: list[str] = []
        self.error: BaseException | None = None
        self._number, self._own, self._board, self._rng = number, own, board, rng
        self._servers = {url: _connection(url) for url in (commands, *reads)}
        self._commands, self._reads = commands, tuple(reads)
        self._token = board.token
        self._known: dict[UUID, int] = {}
        self._versions = itertools.count(1)

    def run(self) -> None:
        try:
            while not self._board.stop.is_set():
                choice = self._rng.random()
                if choice < 0.1:
                    self._write(self._rng.choice(self._own))
                elif choice < 0.15:
                    self._told()
                else:
                    # Its own registers and others' alike.
                    registers = self._own if choice < 0.5 else self._board.registers
                    self._read(self._rng.choice(registers))
        except BaseException as error:
            self.error = error
        finally:
            for connection in self._servers.values():
                connection.close()

    def _write(self, register: UUID) -> None:
        version = next(self._versions)
        self._board.sent[register] = version
        headers = {"Idempotency-Key": str(uuid4()), "Consistency-Token": str(self._token)}
        body = json.dumps({"name": f"v{version}"}).encode()
        while not self._board.stop.is_set():
            found = self._ask(self._commands, "PUT", f"/users/{register}/name", headers, body)
            if found is not None:
                self._learn(found["consistency_token"], register, version)
                self.done["write"] += 1
                self._board.told[self._number] = self._token, dict(self._known)
                return
            self.done["repeated"] += 1
            self._board.stop.wait(0.1)  # a server that is away is not to be flooded

    def _told(self) -> None:
        """Learn what another client knows, by its token."""
        other = self._board.told.get(self._rng.choice(list(self._board.told) or [-1]))
        if other is not None:
            self._token = merged((self._token, other[0]))
            for register, version in other[1].items():
                self._known[register] = max(version, self._known.get(register, 0))
            self.done["told"] += 1

    def _read(self, register: UUID) -> None:
        model = self._rng.choice(("user_profile", "post_by_id"))
        path, column = (
            (f"{register}", "name") if model == "user_profile" else (f"{self._board.posts[register]}", "author_name")
        )
        token, known = self._token, self._known.get(register, 0)
        headers = {"Consistency-Token": str(token), "Prefer": "wait=0.1"}
        found = self._ask(self._rng.choice(self._reads), "GET", f"/read/{model}/{path}", headers, None)
        if found is None:
            self.done["unavailable"] += 1
            self._board.stop.wait(0.05)  # as above
            return
        shown = int(str(found["rows"][0][column]).removeprefix("v")) if found["rows"] else -1
        self.done[f"read from {found['source']}"] += 1
        if not known <= shown <= self._board.sent[register]:
            sent = self._board.sent[register]
            self.wrong.append(
                f"{model}/{path} showed {shown}, known {known}, sent {sent}, token {token}, reply {found}"
            )
        self._learn(found["token"], register, shown)

    def _learn(self, token: str, register: UUID, version: int) -> None:
        self._token = ConsistencyToken.parse(token)  # the newest alone: it covers those before
        self._known[register] = max(version, self._known.get(register, 0))

    def _ask(
        self, url: str, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> dict[str, Any] | None:
        """The JSON of a reply, with its token; None for a server that is away or says 503."""
        connection = self._servers[url]
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, HTTPException):
            connection.close()
            return None
        if reply.status == 503:
            self.refused.append(text.decode(errors="replace"))
            return None
        assert reply.status == 200, f"{method} {path}: {reply.status} {text.decode()}"
        found: dict[str, Any] = json.loads(text)
        return found | {"token": reply.getheader("Consistency-Token")}


def _connection(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=20)
