"""A stock Debezium connector on Kafka Connect in the relay's place, as deploy/debezium/ configures it.

Promised: the worker is gone when the block ends, whatever the test did to it; its log stays in `folder`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from command_api.process.settings import Settings
from deploy.local import connect, download, folders, jars, ports
from deploy.local.child import Child, stop_together
from tests.e2e.pipeline import wait_for

START_S = 60.0


class Connect:
    """One run of the worker, which streams when this returns."""

    def __init__(self, settings: Settings, folder: Path, more: Mapping[str, str] | None = None) -> None:
        self.port = ports.choose({}, {})["relay-metrics"]
        cache, wanted = folders.cache_folder(), jars.locked("connect")["connect"]
        download.ensure(cache, wanted, Console(stderr=True))
        variables = connect.variables(
            conninfo=settings.postgres.relay.get_secret_value(),
            slot=settings.relay.slot,
            publication=settings.relay.publication,
            topic=settings.kafka.topic,
        )
        part = connect.part(
            folder=folder / "connect",
            port=self.port,
            bootstrap_servers=settings.kafka.bootstrap_servers,
            jars=tuple(download.place(cache, jar) for jar in wanted),
            environment=dict(os.environ) | variables,
            more=more,
        )
        self.child = Child(part, folder / "connect.log")
        try:
            wait_for("the connector streams", self._streams, START_S, self.child.tail)
        except BaseException:
            self.child.kill()
            raise

    def _streams(self) -> bool:
        assert self.child.exit_code() is None, self.child.tail()
        return self.child.part.answers() and b"Processing messages" in self.child.log.read_bytes()

    @property
    def pid(self) -> int:
        assert self.child.identity is not None
        return self.child.identity.pid

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.child.kill()

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        assert not stop_together([self.child], {"connect": signal.SIGTERM}), self.child.tail()


@contextlib.contextmanager
def streaming(settings: Settings, folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Connect]:
    """The worker for the length of the block; more: entries of the connector."""
    made = Connect(settings, folder, more)
    try:
        yield made
        if made.child.exit_code() is None:
            made.stop()
    finally:
        made.kill()
