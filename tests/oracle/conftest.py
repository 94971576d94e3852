"""The oracle's own servers and compiled models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.oracle.lives import summary
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the random lives of this session have tried."""
    for number, line in enumerate(summary(MODELS)):
        if not number:
            terminalreporter.section("oracle")
        terminalreporter.write_line(line)
