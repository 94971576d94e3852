"""The oracle's SQL on a PostgreSQL, and how many lives were tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.oracle import feed_views
from tests.oracle.lives import LIVES, summary
from tests.oracle.postgres import Reference
from tests.oracle.schema import TABLES
from tests.oracle.views import MODELS

_LIVES = "random lives by read model"


@pytest.fixture(scope="session")
def reference(judge: str) -> Iterator[Reference]:
    """Every view's SQL on PostgreSQL, over temporary tables of one connection."""
    made = Reference(judge, TABLES, MODELS)
    yield made
    made.close()


@pytest.fixture(scope="session")
def feed_reference(judge: str) -> Iterator[Reference]:
    """The same of feeds, over tables of their own."""
    made = Reference(judge, feed_views.TABLES, feed_views.models_of(feed_views.FEEDS))
    yield made
    made.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give a worker's lives to the session that started it."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[_LIVES] = dict(LIVES)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's lives; one that broke down has none to give."""
    LIVES.update(getattr(node, "workeroutput", {}).get(_LIVES, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the random lives of this session have tried."""
    for number, line in enumerate(summary(MODELS)):
        if not number:
            terminalreporter.section("oracle")
        terminalreporter.write_line(line)
