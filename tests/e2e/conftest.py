"""What every end-to-end test starts from: the whole path over this test's own database, topic and keyspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_api.process.settings import Settings
from tests.e2e.pipeline import Pipeline


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    """Nothing is set up or started yet; all that the test starts is ended."""
    with Pipeline(settings, tmp_path) as made:
        yield made
