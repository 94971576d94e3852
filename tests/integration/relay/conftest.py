"""The fixture of every test of the relay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from command_api.process.settings import Settings


@pytest.fixture
def admin(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection in autocommit."""
    with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        yield connection
