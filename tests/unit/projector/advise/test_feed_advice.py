"""Push, pull or both: the break-even, what thresholds cost, and the choice at the edges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from projector.advise.feed import Authors, Costs, Feed, Kind, Threshold, advise, percentile, thresholds

COSTS = Costs(copies_per_s=1_000, pull_s=0.001)


def authors(followers: int, number: int, posts_per_s: float, active: float = 1.0) -> Authors:
    return Authors(
        followers=followers,
        number=number,
        posts=number * 10,
        posts_per_s=posts_per_s,
        active=round(followers * number * active),
    )


SMALL, MIDDLE, STAR = authors(10, 1_000, 1.0), authors(500, 10, 0.1), authors(50_000, 1, 0.01)
FEED = Feed(name="feed", authors=(SMALL, MIDDLE, STAR), readers=6_500, pages_per_s=20.0)


def at(table: tuple[Threshold, ...], threshold: int | None) -> Threshold:
    (found,) = (row for row in table if row.at == threshold)
    return found


def test_both_sides_of_the_break_even() -> None:
    assert FEED.copies_per_s == 10 * 1.0 + 500 * 0.1 + 50_000 * 0.01
    assert FEED.following == 65_000 / 6_500
    assert FEED.pulls_per_s == 200.0
    assert replace(FEED, pages_per_s=None).pulls_per_s is None


def test_a_threshold_costs_what_it_leaves_to_both_sides() -> None:
    table = thresholds(FEED, COSTS, also=[600])
    assert [row.at for row in table] == [1, 10, 100, 300, 600, 1_000, 3_000, 10_000, 30_000, None]
    row = at(table, 600)
    assert (row.hot, row.copies_per_s, row.copies, row.longest_s) == (1, 60.0, 150_000, 0.5)
    assert row.hot_per_page == pytest.approx(50_000 / 6_500)
    assert row.pulls_per_s == pytest.approx(20 * 50_000 / 6_500)
    assert row.busy == pytest.approx(60 / 1_000 + 20 * 50_000 / 6_500 * 0.001)
    everybody = at(table, None)
    assert (everybody.hot, everybody.copies_per_s, everybody.longest_s, everybody.pulls_per_s) == (0, 560.0, 50.0, 0.0)
    nobody = at(table, 1)
    assert (nobody.copies_per_s, nobody.copies, nobody.pulls_per_s) == (0.0, 0, 200.0)


def test_inactive_followers_get_no_copies() -> None:
    half = replace(FEED, authors=(authors(10, 1_000, 1.0, active=0.5),))
    assert half.copies_per_s == 5.0
    assert at(thresholds(half, COSTS), None).copies == 50_000


def test_a_cap_bounds_what_is_kept() -> None:
    assert at(thresholds(replace(FEED, cap=2), COSTS), None).copies == 13_000


def chosen(feed: Feed, bound_s: float, costs: Costs = COSTS) -> tuple[Kind, int | None]:
    found = advise(feed, costs, thresholds(feed, costs), bound_s)
    return found.kind, found.threshold.at


def test_a_star_is_pulled_where_its_posts_would_hold_up_the_feed() -> None:
    feed = replace(FEED, pages_per_s=2_000.0)
    assert chosen(feed, bound_s=100) == (Kind.PUSH, None)
    assert chosen(feed, bound_s=5) == (Kind.HYBRID, 30_000)


def test_rare_readers_pull_and_frequent_ones_are_pushed_to() -> None:
    assert chosen(replace(FEED, pages_per_s=0.0), bound_s=100) == (Kind.PULL, 10)
    assert chosen(replace(FEED, pages_per_s=1e6), bound_s=100) == (Kind.PUSH, None)


def test_without_a_page_rate_the_largest_threshold_in_time_is_taken() -> None:
    feed = replace(FEED, pages_per_s=None)
    assert chosen(feed, bound_s=5) == (Kind.HYBRID, 30_000)
    assert chosen(feed, bound_s=50) == (Kind.PUSH, None)


def test_nobody_follows_anybody() -> None:
    feed = Feed(name="feed", authors=(), readers=0, pages_per_s=1.0)
    assert chosen(feed, bound_s=1) == (Kind.PUSH, None)


def test_percentiles_are_of_authors() -> None:
    assert [percentile(FEED.authors, share) for share in (0.5, 0.99, 0.995, 1.0)] == [10, 500, 500, 50_000]
