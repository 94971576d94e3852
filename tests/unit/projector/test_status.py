"""What a worker's metrics say of changes that are put aside, as `projector status` prints it."""

from __future__ import annotations

from prometheus_client import generate_latest

from projector.metrics import WorkerMetrics
from projector.status import hot_authors, put_aside


def exported(*models: tuple[str, int, int, float] | tuple[str, int, int, float, int]) -> str:
    metrics = WorkerMetrics()
    for model in models:
        metrics.put_aside(*model)
    return generate_latest(metrics.registry).decode()


def test_changes_keys_and_time_are_told() -> None:
    found = put_aside(exported(("orders_by_user", 1, 120_000, 12.4), ("order_by_id", 2, 7, float("nan"))))
    assert found == {
        "orders_by_user": "1 change put aside, 120,000 keys left, about 12 s",
        "order_by_id": "2 changes put aside, 7 keys left",
    }


def test_what_waits_for_its_budget_is_told() -> None:
    found = put_aside(exported(("home_timeline", 0, 0, 0.0, 2_400), ("orders_by_user", 1, 9, 1.0, 3)))
    assert found == {
        "home_timeline": "2,400 keys pending within a column's budget",
        "orders_by_user": "1 change put aside, 9 keys left, about 1 s; 3 keys pending within a column's budget",
    }


def test_hot_authors_are_told() -> None:
    metrics = WorkerMetrics()
    metrics.hot_authors.labels("home_timeline").set(1)
    metrics.hot_authors.labels("another").set(1_200)
    metrics.feed_flips_under_way.labels("another").set(2)
    assert hot_authors(generate_latest(metrics.registry).decode()) == {
        "home_timeline": "1 hot author",
        "another": "1,200 hot authors, of 2 authors the copies are under way",
    }


def test_nothing_is_said_of_what_is_worked_off() -> None:
    assert put_aside(exported(("orders_by_user", 0, 0, 0.0))) == {}
    assert put_aside("") == {}
