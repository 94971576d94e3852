"""What the page's figures are made of: samples parsed, rates taken, and nothing made up where nothing was measured."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from command_api.lsn import Lsn
from command_api.process.settings import ReadApi
from projections import CATEGORY_REPORT, ORDER_BY_ID
from read_api.freshness import Position
from read_api.page.board import Board
from read_api.page.figures import Sample, model, pipeline, sources
from read_api.page.scrape import Endpoint, Scrape, declared, parsed
from read_api.problem import StoreUnavailableError

AT = 1_700_000_000.0
WORKER = Endpoint(name="worker", setting="A", url="http://user:secret@127.0.0.1:1/metrics")
RELAY = Endpoint(name="relay", setting="B", url=None)


def worker(written: float | None, *, changes: float = 0) -> Scrape:
    if written is None:
        return Scrape(endpoint=WORKER, problem="away")
    registry = CollectorRegistry()
    for name, value in (("projection_rows_written", written), ("projection_rows_deleted", 1)):
        Counter(name, "", ["read_model"], registry=registry).labels("m").inc(value)
    Counter("projection_source_changes", "", registry=registry).inc(changes)
    Gauge("projection_put_aside_keys", "", ["read_model"], registry=registry)
    Gauge("projection_drift_rows", "", ["read_model"], registry=registry)
    text = generate_latest(registry).decode()
    return Scrape(endpoint=WORKER, values=parsed(text, ["projection_"]), declared=declared(text))


def sample(
    seconds: float, *workers: Scrape, relay: Scrape | None = None, positions: Mapping[str, Position] | None = None
) -> Sample:
    return Sample(
        at=AT + seconds,
        clock=seconds,
        positions=positions,
        problem=None,
        workers=workers,
        relay=relay or Scrape(endpoint=RELAY, problem="no address is set: B"),
    )


def test_rates_are_of_all_workers_and_changes_of_one() -> None:
    before = sample(0, worker(10, changes=5), worker(100, changes=4))
    now = sample(2, worker(30, changes=25), worker(140, changes=22))
    figures = pipeline(now, before)
    assert figures["rows_per_s"] == (20 + 40) / 2, "each worker writes its share"
    assert figures["changes_per_s"] == 10, "each reads the whole log"
    assert model("m", 5.0, now, before)["rows_per_s"] == 30
    assert model("another", 5.0, now, before)["rows_per_s"] == 0, "a counter that has not begun counts nothing"


def test_what_was_not_measured_is_none() -> None:
    away = pipeline(sample(2, worker(None)), sample(0, worker(None)))
    assert set(away.values()) == {None}
    assert pipeline(sample(2, worker(10)), None)["rows_per_s"] is None, "one sample is no rate"
    assert pipeline(sample(2, worker(10)), sample(0, worker(50)))["rows_per_s"] is None, "the worker was started anew"
    figures = pipeline(sample(2, worker(10)), sample(0, worker(10)))
    assert figures["rows_per_s"] == 0
    assert figures["put_aside_keys"] == 0, "declared, and nothing yet"
    assert figures["dead_letters"] is None, "nobody exports it"
    assert model("m", 5.0, sample(2, worker(10)), None)["drift_rows"] is None, "never verified"


def test_lag_is_of_the_moment_of_the_sample() -> None:
    position = Position(lsn=Lsn(0x10), committed_at=round((AT - 4) * 1e6))
    fresh = model("m", 5.0, sample(0, positions={"m": position}), None)
    assert (fresh["lag_s"], fresh["stale"], fresh["covered_lsn"]) == (4.0, False, "0/10")
    assert model("m", 5.0, sample(2, positions={"m": position}), None)["stale"]
    assert model("m", None, sample(2, positions={"m": position}), None)["stale"] is None, "nothing is declared"
    nothing = model("m", 5.0, sample(0, positions={}), None)
    assert (nothing["lag_s"], nothing["stale"], nothing["covered_lsn"]) == (None, None, None)


def test_an_address_is_shown_without_its_password() -> None:
    (_, shown, relay) = sources(sample(0, worker(None)))
    assert shown == {"name": "worker", "address": "127.0.0.1:1", "problem": "away"}
    assert relay == {"name": "relay", "address": None, "problem": "no address is set: B"}


def test_a_line_that_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        parsed("relay_lag_seconds three\n", ["relay_"])
    assert parsed("other 1\nrelay_x 2\n# relay_y\n", ["relay_"]) == {"relay_x": {frozenset(): 2.0}}


def test_a_board_without_anything_says_so_and_goes_on() -> None:
    asked = 0

    async def positions() -> Mapping[str, Position]:
        nonlocal asked
        asked += 1
        raise StoreUnavailableError("no Cassandra node answers", hint="")

    async def check() -> None:
        board = Board(
            ReadApi(worker_metrics=("http://127.0.0.1:9/metrics",)), [ORDER_BY_ID, CATEGORY_REPORT], positions
        )
        try:
            first, again = await asyncio.gather(board.view(), board.view())
        finally:
            await board.stop()
        assert asked == 1, "two who look are one sample"
        assert first == again
        assert [one["problem"] for one in first["sources"]] == [
            "no Cassandra node answers",
            "does not answer: nothing listens there, or not HTTP",
            "no address is set: LOCKSTEP_READ_API__RELAY_METRICS",
        ]
        assert [one["name"] for one in first["models"]] == ["order_by_id", "category_report"]
        assert first["history"]["numbers"] == [1]
        assert (await board.view(after=99))["history"]["numbers"] == []
        await board.stop()

    asyncio.run(check())
