"""What every end-to-end test starts from: the whole path over this test's own database, topic and keyspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_api.process.settings import Settings
from tests.e2e.pipeline import Pipeline


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    """Nothing is set up or started yet; all that the test starts is ended.

    Reads are answered by the read models alone: what Postgres answered would say nothing about them.
    """
    reads = settings.read_api.model_copy(update={"fallback_connections": 0})
    with Pipeline(settings.model_copy(update={"read_api": reads}), tmp_path) as made:
        yield made
