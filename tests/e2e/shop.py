"""A customer of the running application: commands through the command API, reads through the read API with their token.

Every read carries the token of the last command, so what it returns shows that command or fails: a test needs no waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from command_api.process.consistency import ConsistencyToken
from tests.e2e.pipeline import Pipeline, listening

WAIT_MS = 30_000


class Shop:
    """Both APIs. token: of the last command, "0/0" before the first."""

    def __init__(self, commands: httpx.Client, reads: httpx.Client) -> None:
        self.commands = commands
        self.reads = reads
        self.token = "0/0"

    def send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A command that must succeed; its reply."""
        reply = self.commands.request(method, path, json=body)
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        self.token = reply.headers["Consistency-Token"]
        found: dict[str, Any] = reply.json()
        return found

    def saw(self, tokens: Iterable[str]) -> None:
        """Replies that did not come through `send`: the next read shows all of them."""
        self.token = str(ConsistencyToken.parse_list(",".join((self.token, *tokens))))

    def made(self, kind: str, path: str, **body: Any) -> str:
        """The id of what a POST made."""
        return str(self.send("POST", path, body)[f"{kind}_id"])

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The rows of a partition, as of the last command or later."""
        reply = self.reads.get(f"/read/{path}", headers={"Consistency-Token": self.token})
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()["rows"]
        return found

    def row(self, path: str) -> dict[str, Any]:
        """The one row of a partition."""
        (found,) = self.rows(path)
        return found


@contextmanager
def opened(pipeline: Pipeline, **command_api: Any) -> Iterator[Shop]:
    """The whole path set up and running. command_api: settings of the command API."""
    pipeline.settings = pipeline.with_settings(command_api=command_api, read_api={"wait_ms": WAIT_MS})
    pipeline.set_up()
    with pipeline.running("relay", "projector", "command-api", "read-api") as processes:
        commands, reads = (listening(process) for process in processes[2:])
        with (
            httpx.Client(base_url=commands, timeout=60, trust_env=False) as command_client,
            httpx.Client(base_url=reads, timeout=60, trust_env=False) as read_client,
        ):
            yield Shop(command_client, read_client)
