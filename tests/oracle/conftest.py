"""The oracle's own servers and compiled models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.oracle.postgres import Reference
from tests.oracle.schema import TABLES
from tests.oracle.views import MODELS

if TYPE_CHECKING:
    from tests.conftest import Stack


@pytest.fixture(scope="session")
def reference(stack: Stack) -> Iterator[Reference]:
    """Every view's SQL on PostgreSQL, over temporary tables of one connection."""
    made = Reference(stack.postgres_admin, TABLES, MODELS)
    yield made
    made.close()
