"""`projector advise` on real tables with a power-law graph: its figures are those of the tables, counted here anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from typer.testing import CliRunner

from command_api.process.settings import Postgres
from projections import READ_MODELS
from projections.feeds import HOME_TIMELINE
from projector.__main__ import app
from projector.advise.amplified import Amplified
from projector.advise.feed import percentile
from projector.advise.measure import Measured, Source, source
from projector.advise.rates import Given, rates
from projector.advise.report import model_lines

USERS = 400
GRAPH = f"""
insert into users (user_id, name, last_seen_at)
    select md5('u' || n)::uuid, 'user ' || n, case when n % 4 > 0 then now() end from generate_series(1, {USERS}) n;
insert into follows (follower_id, followee_id)
    select md5('u' || reader)::uuid, md5('u' || author)::uuid
    from generate_series(1, {USERS}) author, generate_series(1, {USERS}) reader
    where reader <> author and reader <= {USERS} / author;
insert into posts (post_id, author_id, body, created_at)
    select gen_random_uuid(), md5('u' || n)::uuid, 'hello', now() - i * interval '1 hour'
    from generate_series(1, {USERS}, 2) n, generate_series(1, 24) i;
insert into likes (post_id, user_id)
    select post_id, md5('u' || n)::uuid from posts, generate_series(1, 3) n where author_id = md5('u1')::uuid;
insert into orders (order_id, user_id, region) select gen_random_uuid(), md5('u7')::uuid, 'eu' from generate_series(1, 30);
insert into order_items (order_id, line_no, product_id, quantity, unit_price)
    select order_id, line_no, gen_random_uuid(), 1, 1 from orders, generate_series(1, 2) line_no;
analyze;
"""


@pytest.fixture
def graph(postgres: Postgres) -> Postgres:
    with psycopg.connect(postgres.admin.get_secret_value(), autocommit=True) as connection:
        connection.execute("alter table order_items disable trigger all")  # the products are not what is looked at
        connection.execute(GRAPH.encode())
    return postgres


@pytest.fixture
def opened(graph: Postgres) -> Iterator[Source]:
    with source(graph.reader.get_secret_value(), 60) as opened:
        yield opened


def reached(found: Measured) -> dict[str, Amplified]:
    """What each source table reaches; all were measured."""
    return {name: one for name, one in found.amplified if one is not None}


def test_a_feed_is_what_its_tables_hold(opened: Source, graph: Postgres) -> None:
    found = opened.measure(HOME_TIMELINE, days=7, pages_per_s=3.0)
    feed = found.feed
    assert feed is not None
    assert found.days == pytest.approx(1, rel=0.01), "posts began a day ago"
    with psycopg.connect(graph.admin.get_secret_value()) as connection:
        ((edges, active, readers),) = connection.execute(
            "select count(*), count(*) filter (where last_seen_at is not null), count(distinct follower_id)"
            " from follows join users on user_id = follower_id"
        ).fetchall()
        ((copies,),) = connection.execute(
            "select count(*) from follows join posts on author_id = followee_id"
            " join users on user_id = follower_id where last_seen_at is not null"
        ).fetchall()
    assert sum(a.followers * a.number for a in feed.authors) == edges
    assert (sum(a.active for a in feed.authors), feed.readers) == (active, readers)
    assert sum(a.number for a in feed.authors) == USERS
    assert percentile(feed.authors, 1.0) == USERS - 1
    assert feed.copies_per_s == pytest.approx(copies / 86_400, rel=0.02)


def test_amplification_is_the_rows_behind_a_row(opened: Source) -> None:
    of_table = reached(opened.measure(HOME_TIMELINE, days=7, pages_per_s=None))
    follows, posts, users, likes = (of_table[name] for name in ("follows", "posts", "users", "likes"))
    assert (follows.p50, follows.largest) == (24, 24)
    assert (posts.rows, posts.largest) == (USERS // 2 * 24, USERS - 1)
    assert (users.rows, users.p50, users.largest) == (USERS, 0, (USERS - 1) * 24)
    assert (likes.rows, likes.p50, likes.p99, likes.via) == (72, USERS - 1, USERS - 1, "a subquery")
    assert posts.changes_per_s is not None


def test_every_read_model_can_be_measured(opened: Source) -> None:
    for model in READ_MODELS:
        found = opened.measure(model, days=7, pages_per_s=None)
        assert found.stored is not None, model.name
        assert all(one is not None for _, one in found.amplified), model.name
        assert found.amplified or model.refresh is not None, model.name
        if model.name == "orders_by_user":
            users, lines = (reached(found)[name] for name in ("users", "order_items"))
            assert (users.largest, lines.rows, lines.p50, lines.largest) == (30, 60, 1, 1)
            assert found.stored.rows == 30


def test_what_takes_too_long_is_given_up(graph: Postgres) -> None:
    with source(graph.reader.get_secret_value(), 60) as opened:
        opened._connection.execute("set statement_timeout = 1")
        found = opened.measure(HOME_TIMELINE, days=7, pages_per_s=None)
    assert None in [one for _, one in found.amplified]


def test_the_command_prints_advice(graph: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_POSTGRES__READER", graph.reader.get_secret_value())
    arguments = "advise home_timeline --posts-per-s 2000 --followers 300 --replicas 3 --reads-per-s 50 --threshold 50"
    shown = CliRunner().invoke(app, [*arguments.split(), "--worker-rows-per-s", "100", "--within-s", "2"])
    assert shown.exit_code == 0, shown.output
    assert "2,000 posts/s * 300 followers * 3 replicas = 1,800,000 writes/s" in shown.output
    assert "break-even: followers * post rate =" in shown.output
    assert re.search(r"^  50 +\d", shown.output, re.MULTILINE), "the threshold that was asked for"
    assert re.search(r"^  advice: (hybrid|pull) at \d+ followers: ", shown.output, re.MULTILINE)
    alone = CliRunner().invoke(app, ["advise", "--scale-only", "--posts-per-s", "10", "--followers", "5"])
    assert alone.exit_code == 0, alone.output
    assert "150 writes/s" in alone.output
    assert CliRunner().invoke(app, ["advise", "--followers", "5"]).exit_code == 2


def test_a_feed_whose_rate_cannot_be_told_does_not_end_the_report(opened: Source) -> None:
    """Its author is the edges' column, not the entries'."""
    assert HOME_TIMELINE.fan_out is not None
    edges, selected = HOME_TIMELINE.fan_out.edges, HOME_TIMELINE.select.selected_columns
    columns = [c if c.name != "author_id" else edges.c.followee_id.label("author_id") for c in selected]
    feed = replace(HOME_TIMELINE, select=HOME_TIMELINE.select.with_only_columns(*columns, maintain_column_froms=True))
    found = opened.measure(feed, days=7, pages_per_s=3.0)
    assert found.stored is not None
    lines = list(model_lines(found, rates({}, Given()), 3, (), 5.0))
    assert any("its rate can't be told" in line for line in lines), lines
