"""Who may start, who is stopped together, and what a plan refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.part import Kind, Part, check_plan, startable, stop_order


def part(name: str, kind: Kind = "server", *after: str) -> Part:
    return Part(name=name, kind=kind, argv=("/bin/true",), environment={}, folder=Path("/"), after=after)


PLAN = (
    part("postgres"),
    part("kafka"),
    part("cassandra"),
    part("migrate", "task", "postgres"),
    part("relay", "app", "migrate", "kafka"),
)


def names(parts: tuple[Part, ...]) -> list[str]:
    return [part.name for part in parts]


def test_servers_start_side_by_side() -> None:
    assert names(startable(PLAN, frozenset(), frozenset())) == ["postgres", "kafka", "cassandra"]


def test_a_part_waits_for_all_that_it_names() -> None:
    servers = frozenset({"postgres", "kafka", "cassandra"})
    assert names(startable(PLAN, servers, frozenset({"postgres"}))) == ["migrate"]
    assert names(startable(PLAN, servers | {"migrate"}, frozenset({"postgres", "migrate"}))) == []
    assert names(startable(PLAN, servers | {"migrate"}, frozenset({"kafka", "migrate"}))) == ["relay"]


def test_apps_stop_before_servers_and_servers_in_the_reverse_of_the_plan() -> None:
    assert [names(group) for group in stop_order(PLAN)] == [
        ["relay", "migrate"],
        ["cassandra"],
        ["kafka"],
        ["postgres"],
    ]


def test_a_plan_refuses_a_name_given_twice_and_a_wait_for_what_comes_later() -> None:
    check_plan(PLAN)
    with pytest.raises(ValueError, match="two parts are named kafka"):
        check_plan((*PLAN, part("kafka")))
    with pytest.raises(ValueError, match="relay waits for kafka"):
        check_plan((part("relay", "app", "kafka"), part("kafka")))
