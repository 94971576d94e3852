"""The oracle's own server and compiled models; all of it are simulations: they need a PostgreSQL and nobody's time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.local.stack import Options, start
from tests.conftest import VARIABLES, on_containers
from tests.oracle import feed_views
from tests.oracle.lives import LIVES, summary
from tests.oracle.postgres import Reference
from tests.oracle.schema import TABLES
from tests.oracle.views import MODELS

if TYPE_CHECKING:
    from tests.conftest import Stack

_LIVES = "random lives by read model"
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies here is marked, so that it can run beside the rest (see `tests.__main__`)."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.simulation)


@pytest.fixture(scope="session")
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Conninfo of a PostgreSQL: the one that was given, else one started for this, without the other servers."""
    if given := os.environ.get(VARIABLES[0]):
        yield given
        return
    if on_containers():
        stack: Stack = request.getfixturevalue("stack")
        yield stack.postgres_admin
        return
    with start(Options(folder=tmp_path_factory.mktemp("judge"), only=("postgres",), throw_away=True)) as running:
        _as_patient_as_we_are(running.state.supervisor.pid)
        yield running.postgres_admin


def _as_patient_as_we_are(pid: int) -> None:
    """Give a process's session the priority that ours has among sessions; without effect where the kernel has no such."""
    with contextlib.suppress(OSError):
        own = Path("/proc/self/autogroup").read_text()  # "/autogroup-25 nice 19"
        Path(f"/proc/{pid}/autogroup").write_text(own.split()[-1])


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
