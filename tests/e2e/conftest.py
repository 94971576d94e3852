"""What every end-to-end test starts from: the whole path over this test's own database, topic and keyspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from command_api.process.settings import Settings
from deploy.local.plan import SERVERS
from deploy.local.stack import Options, start
from tests.conftest import FOR_MINUTES, Stack, driver_session
from tests.e2e.pipeline import Pipeline

if TYPE_CHECKING:
    from cassandra.cluster import Session


@pytest.fixture(scope="session")
def mortal_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Embedded servers that tests may kill and pause; their data has to survive that, and goes with the session's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*FOR_MINUTES)
        starting = start(Options(folder=tmp_path_factory.mktemp("mortal"), only=SERVERS))
    with starting as running:
        host, _, port = running.address("cassandra").rpartition(":")
        yield Stack(
            postgres_admin=running.postgres_admin,
            kafka=running.address("kafka"),
            cassandra=(host, int(port)),
            running=running,
        )


@pytest.fixture(scope="session")
def mortal_session(mortal_stack: Stack) -> Iterator[Session]:
    """A driver session with that stack's Cassandra."""
    with driver_session(mortal_stack) as session:
        yield session


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    """Nothing is set up or started yet; all that the test starts is ended.

    Reads are answered by the read models alone: what Postgres answered would say nothing about them.
    """
    reads = settings.read_api.model_copy(update={"fallback_connections": 0})
    with Pipeline(settings.model_copy(update={"read_api": reads}), tmp_path) as made:
        yield made
