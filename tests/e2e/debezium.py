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
from tests.oracle import views

START_S = 120.0
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # half the CPU of a start, and slower once it runs
VIEWS = views.VIEWS


class Connect:
    """One run of the worker, which streams when this returns."""

    def __init__(self, settings: Settings, folder: Path, more: Mapping[str, str], options: tuple[str, ...]) -> None:
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
            options=options,
        )
        log = folder / "connect.log"
        self._begin = log.stat().st_size if log.exists() else 0
        self.child = Child(part, log)
        try:
            wait_for("the connector streams", self._streams, START_S, self.child.tail)
        except BaseException:
            self.child.kill()
            raise

    def _streams(self) -> bool:
        assert self.child.exit_code() is None, self.child.tail()
        return b"Processing messages" in self.child.log.read_bytes()[self._begin :] and self.child.part.answers()

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
def streaming(
    settings: Settings, folder: Path, more: Mapping[str, str] | None = None, options: tuple[str, ...] = QUICK
) -> Iterator[Connect]:
    """The worker for the length of the block; more: entries of the connector. options: Java's."""
    made = Connect(settings, folder, more or {}, options)
    try:
        yield made
        if made.child.exit_code() is None:
            made.stop()
    finally:
        made.kill()
