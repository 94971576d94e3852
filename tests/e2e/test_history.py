"""No read is older than its token, none takes back what was shown: over two read APIs, while everything else comes and goes."""

from __future__ import annotations

import secrets
import signal
import time
from collections import Counter
from random import Random

import pytest
from cassandra.cluster import Session

from projections import POST_BY_ID, USER_PROFILE
from tests.conftest import Stack
from tests.e2e.own_servers import killed, paused
from tests.e2e.pipeline import Pipeline, Process, listening, wait_for
from tests.e2e.registers import Client, new_board

pytestmark = [
    pytest.mark.alone,
    pytest.mark.embedded(
        "pauses and kills the servers' own processes, which the embedded stack's supervisor starts again"
    ),
]

MODELS = (USER_PROFILE, POST_BY_ID)
"""Those that the clients read."""
OPERATIONS = 20_000
FROM_READ_MODEL = 2_000
CLIENTS, REGISTERS = 24, 2
PAUSE_S = 1.5
START_S = 120.0
FAULTS = (
    "projector paused",
    "postgres paused",
    "projector killed",
    "cassandra paused",
    "postgres killed",
    "cassandra killed",
)


@pytest.fixture(scope="module")
def stack(mortal_stack: Stack) -> Stack:
    return mortal_stack


@pytest.fixture(scope="module")
def cassandra_session(mortal_session: Session) -> Session:
    return mortal_session


@pytest.mark.timeout(500)
def test_no_reply_is_older_than_its_token_or_than_what_was_shown(pipeline: Pipeline, stack: Stack) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    pipeline.settings = pipeline.with_settings(
        read_api={
            "fallback_connections": 8,
            "wait_ms": 500,
            "fallback_timeout_ms": 1_000,
            "read_models": "tests.e2e.test_history:MODELS",
        },
        command_api={"timeout_ms": 2_000},
        projector={"read_models": "tests.e2e.test_history:MODELS"},
    )
    pipeline.set_up()
    with pipeline.running("relay", "command-api") as (_, commander):
        worker = pipeline.start("projector")
        readers = [pipeline.start("read-api", log=f"read-api-{number}") for number in range(2)]
        board = new_board(pipeline.settings.postgres.admin.get_secret_value(), CLIENTS * REGISTERS, rng)
        urls = [listening(reader, START_S) for reader in readers]
        clients = [
            Client(
                number,
                board.registers[number::CLIENTS],
                board,
                listening(commander, START_S),
                urls,
                Random(seed + number),
            )
            for number in range(CLIENTS)
        ]
        began = time.monotonic()
        for client in clients:
            client.start()
        away: dict[str, float] = {}
        try:
            for fault in FAULTS:
                _wait_for_operations(clients, 300, seed)
                started = time.monotonic()
                worker = _suffer(fault, pipeline, worker, stack)
                away[fault] = round(time.monotonic() - started, 1)
            _wait_for_operations(clients, OPERATIONS - _total(clients), seed)
            # However long the servers took to come back: enough of what is judged comes from a read model.
            _wait_for_operations(clients, FROM_READ_MODEL - _total(clients, _FROM_READ_MODEL), seed, _FROM_READ_MODEL)
        finally:
            board.stop.set()
            for client in clients:
                client.join(60)
        for process in (worker, *readers):
            assert process.status is None, process.tail()
    done = sum((client.done for client in clients), Counter[str]())
    story = f"seed {seed}: {time.monotonic() - began:.0f} s, {dict(done)}, away {away}"
    print(story)
    assert not [client.error for client in clients if client.error is not None], story
    wrong = [text for client in clients for text in client.wrong]
    assert not wrong, f"{story}\n{len(wrong)} wrong replies: " + "\n".join(wrong[:3])
    assert done["read from read-model"] >= FROM_READ_MODEL, story
    assert done["read from postgres"] > 20, story  # a read model that is behind was never waited for in vain
    assert done["told"] > 100, story


def _suffer(fault: str, pipeline: Pipeline, worker: Process, stack: Stack) -> Process:
    """One fault, from its beginning to its end; the worker that runs afterwards."""
    assert stack.running is not None
    name, _, kind = fault.partition(" ")
    if name == "projector":
        if kind == "paused":
            with paused(worker.pid):
                time.sleep(PAUSE_S)  # the pause itself
            return worker
        worker.kill()
        return pipeline.start("projector")
    if kind == "paused":
        process = stack.running.state.part(name).process
        assert process is not None
        with paused(process.pid):
            time.sleep(PAUSE_S)  # the pause itself
    else:
        killed(stack.running, name, signal.SIGKILL)
    return worker


_FROM_READ_MODEL = frozenset({"read from read-model"})
_JUDGED = _FROM_READ_MODEL | {"write", "read from postgres"}


def _total(clients: list[Client], kinds: frozenset[str] = _JUDGED) -> int:
    """Operations of these kinds that were answered, and so judged."""
    return sum(number for client in clients for kind, number in list(client.done.items()) if kind in kinds)


def _wait_for_operations(clients: list[Client], more: int, seed: int, kinds: frozenset[str] = _JUDGED) -> None:
    wanted = _total(clients, kinds) + more
    wait_for(
        f"{wanted} operations of {sorted(kinds)}",
        lambda: _total(clients, kinds) >= wanted or any(client.error for client in clients),
        240,
        lambda: f"seed {seed}: {[(client.done, client.error) for client in clients]}",
    )
