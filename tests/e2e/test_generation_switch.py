"""Another declaration takes the place of the one before while clients read and write: no reply is older than its token.

One read API has the declaration of before, one that of after; each answers all the time, from the live generation or from
Postgres, whichever its own declaration allows.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from random import Random

import pytest
from cassandra.cluster import Session

from projections.generations import State
from tests.e2e.evolved import NAMES
from tests.e2e.generations import Registers, building, refused, run
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.e2e.registers import Board, Client, new_board
from tests.http_client import HTTP

CLIENTS, REGISTERS = 6, 2
OPERATIONS = 250
FOLLOW_S = 1.0
SLOW_S = 1.0  # of this test's own requests, on a machine that is busy
START_S = 120.0


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_readers_see_no_gap_and_nothing_older_through_switches_there_and_back(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    seed = secrets.randbits(32)
    pipeline.settings = pipeline.with_settings(read_api={"fallback_connections": 8, "fallback_timeout_ms": 10_000})
    evolved = pipeline.with_settings(
        projector={"read_models": "tests.e2e.evolved:READ_MODELS"},
        read_api={"read_models": "tests.e2e.evolved:READ_MODELS"},
    )
    pipeline.set_up()
    registers = Registers(cassandra_session, pipeline.settings)
    with pipeline.running("relay", "command-api") as (_, commander):
        worker = pipeline.start("projector")
        before = pipeline.start("read-api", log="read-api-before")
        after = pipeline.start("read-api", log="read-api-after", settings=evolved)
        board = new_board(pipeline.settings.postgres.admin.get_secret_value(), CLIENTS * REGISTERS, Random(seed))
        urls = {"before": listening(before, START_S), "after": listening(after, START_S)}
        clients = [
            Client(
                n,
                board.registers[n::CLIENTS],
                board,
                listening(commander, START_S),
                list(urls.values()),
                Random(seed + n),
            )
            for n in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        try:
            _work_on(clients, seed)
            assert _sources(urls, board) == {"before": "read-model", "after": "postgres"}
            build = building(pipeline, *NAMES, settings=evolved)
            for name in NAMES:
                registers.wait(name, 2, State.VERIFIED, build)
            _work_on(clients, seed)

            _switch(pipeline, registers, 2)
            _followed(urls, board, {"before": "postgres", "after": "read-model"})
            _work_on(clients, seed)
            _switch(pipeline, registers, 1)  # the worker with the declaration of before still follows it
            _followed(urls, board, {"before": "read-model", "after": "postgres"})
            _work_on(clients, seed)
            _switch(pipeline, registers, 2)
            _followed(urls, board, {"before": "postgres", "after": "read-model"})

            assert "a worker still writes" in refused(pipeline, "drop", NAMES[0], "1", settings=evolved)
            assert worker.stop() == 0, worker.tail()
            _work_on(clients, seed)  # the build is a second worker of all read models
            assert build.stop() == 0, build.tail()
            worker = pipeline.start("projector", settings=evolved, log="projector-after")
            adopted = "the replica of a build takes the place of the one before"
            wait_for("the worker goes on with the build's replica", lambda: adopted in worker.said(), 60, worker.tail)
            _work_on(clients, seed)
            assert "rebuilt from the log" not in worker.said()
            for name in NAMES:
                run(pipeline, "drop", name, "1", settings=evolved)
            _work_on(clients, seed)
        finally:
            board.stop.set()
            for client in clients:
                client.join(60)
        pipeline.run("projector", "verify", "--all", settings=evolved, seconds=120)
        listed = run(pipeline, "list", settings=evolved)
        for process in (worker, before, after):
            assert process.status is None, process.tail()
    assert listed.count("live, declared") >= len(NAMES), listed
    done = sum((client.done for client in clients), Counter[str]())
    story = f"seed {seed}: {dict(done)}"
    assert not [client.error for client in clients if client.error is not None], story
    wrong = [text for client in clients for text in client.wrong]
    assert not wrong, f"{story}\n{len(wrong)} wrong replies: " + "\n".join(wrong[:3])
    refused_reads = [text for client in clients for text in client.refused]
    assert not done["unavailable"], f"{story}\n" + "\n".join(refused_reads[-5:])  # no gap
    assert done["read from read-model"] > OPERATIONS, story
    assert done["read from postgres"] > OPERATIONS, story
    assert not registers.tables() & set(NAMES)


def _switch(pipeline: Pipeline, registers: Registers, number: int) -> None:
    for name in NAMES:
        run(pipeline, "switch", name, str(number))
    assert registers.live(*NAMES) == [number] * len(NAMES)


def _sources(urls: dict[str, str], board: Board) -> dict[str, str]:
    """Where each API's rows of a read model come from, without a token."""
    register = board.registers[0]
    found = {}
    for name, url in urls.items():
        reply = HTTP.get(f"{url}/read/user_profile/{register}", timeout=20)
        assert reply.status_code == 200, reply.text
        assert reply.json()["rows"], "the register was written long ago"
        found[name] = reply.json()["source"]
    return found


def _followed(urls: dict[str, str], board: Board, wanted: dict[str, str]) -> None:
    """Both read APIs follow a switch that was made just now, within a second."""
    began = time.monotonic()
    wait_for(f"the read APIs answer as {wanted}", lambda: _sources(urls, board) == wanted, 20)
    assert time.monotonic() - began < FOLLOW_S + SLOW_S


def _work_on(clients: list[Client], seed: int) -> None:
    def total() -> int:
        return sum(sum(list(client.done.values())) for client in clients)

    wanted = total() + OPERATIONS
    wait_for(
        f"{OPERATIONS} operations more",
        lambda: total() >= wanted or any(client.error or client.wrong for client in clients),
        60,
        lambda: f"seed {seed}: {[(client.done, client.error) for client in clients]}",
    )
