"""The demonstration's decisions: a load that repeats itself, a comparison that sees every difference, an honest verdict."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator
from hashlib import md5
from typing import Any
from uuid import UUID

import httpx
import pytest
from rich.console import Console
from sqlalchemy import Float, column, literal, select

from command_api.commands.orders import MOVES
from deploy.local import demo, demo_feeds, demo_fill
from deploy.local.demo_equal import Comparison, difference, from_postgres, sql_text
from deploy.local.demo_fill import filled_user
from deploy.local.demo_load import check
from deploy.local.demo_plan import make_plan
from deploy.local.demo_print import Line, Printer, percentile
from deploy.local.demo_reads import Timing, restricted
from deploy.local.demo_request import Journey, Request
from deploy.local.demo_servers import DemoError, translated
from projections import READ_MODELS
from projections.catalogue import CATEGORY_REPORT
from projections.orders import ORDERS_BY_STATUS
from projections.read_model import ReadModel
from projections.reviews import PRODUCT_REVIEWS


def test_a_seed_gives_one_plan_and_another_seed_another() -> None:
    assert make_plan(3) == make_plan(3)
    assert make_plan(3) != make_plan(4)


def test_a_plan_holds_every_kind_of_command() -> None:
    plan = make_plan(demo.SEED, filled_users=10)
    done = Counter(request.what for journey in plan.journeys for request in journey)
    wanted = {
        "orders placed",
        "orders paid",
        "orders shipped",
        "orders delivered",
        "orders cancelled",
        "orders deleted",
    }
    wanted |= {"reviews written", "reviews edited", "reviews deleted", "second reviews refused"}
    wanted |= {"trips started", "trips finished", "fares corrected", "early fares refused", "drivers renamed"}
    wanted |= {"posts", "posts edited", "posts deleted", "likes", "likes given twice", "likes taken back"}
    wanted |= {"follows", "unfollows", "heartbeats", "all followers removed"}
    wanted |= {"addresses added", "addresses changed", "addresses removed", "products moved"}
    wanted |= {"renames", "avatars", "prices", "users deleted", "forbidden moves refused", "repeated with their key"}
    assert wanted <= set(done)
    assert plan.requests == sum(done.values()) + len(plan.catalogue) + sum(map(len, plan.sign_ups))


def orders_of(journeys: tuple[Journey, ...]) -> Iterator[Journey]:
    return (journey for journey in journeys if journey[0].what == "orders placed")


def test_the_first_filled_user_is_above_the_threshold_and_the_second_below() -> None:
    followers = [demo_fill.MOST_FOLLOWERS // (n + 1) for n in range(demo_fill.USERS)]
    assert followers[0] > demo_feeds.THRESHOLD > followers[1] > followers[demo_fill.FAMOUS] > 0


@pytest.mark.parametrize("seed", range(5))
def test_orders_move_only_as_the_write_side_allows(seed: int) -> None:
    for journey in orders_of(make_plan(seed).journeys):
        status: Any = "placed"
        for request in journey[1:]:
            if request.method == "PUT" and request.body:
                allowed = request.body["status"] in MOVES[status]
                assert allowed == (request.expected == 200), journey
                status = request.body["status"] if allowed else status
            elif request.path.endswith("/cancel"):
                assert "cancelled" in MOVES[status], journey


def test_the_probed_user_is_left_alone_by_the_load() -> None:
    plan = make_plan(demo.SEED)
    for journey in plan.journeys:
        for request in journey:
            assert str(plan.probed) not in request.path
            assert str(plan.probed) not in (request.body or {}).values()


def test_deleted_users_have_nothing_of_their_own() -> None:
    plan = make_plan(demo.SEED)
    gone = {j[0].path.rpartition("/")[2] for j in plan.journeys if j[0].what == "users deleted"}
    assert len(gone) == 3
    kept = [j for j in plan.journeys if j[0].what != "users deleted"]
    assert not gone & {str(value) for j in kept for request in j for value in (request.body or {}).values()}
    assert not [request for j in kept for request in j if request.path.rpartition("/")[2] in gone]


def test_a_filled_user_has_the_id_that_sql_gives_it() -> None:
    assert filled_user(7) == UUID(md5(b"user 7").hexdigest())


def test_a_reply_with_another_status_stops_the_load() -> None:
    request = Request(what="x", method="PUT", path="/orders/1/status", expected=409)
    check(request, httpx.Response(409))
    with pytest.raises(DemoError, match=r"answered 200, not 409"):
        check(request, httpx.Response(200, text="{}"))


# --- comparison


def test_equal_rows_in_any_order_are_equal() -> None:
    assert difference(iter([(1, "a"), (2, None)]), iter([(2, None), (1, "a")])) == Comparison(
        rows=2, missing=0, surplus=0
    )


@pytest.mark.parametrize(
    ("expected", "actual", "missing", "surplus"),
    [
        ([(1, "a")], [], 1, 0),
        ([], [(1, "a")], 0, 1),
        ([(1, "a")], [(1, "b")], 1, 1),
        ([(1, None)], [(1, "")], 1, 1),
        ([(1, "a"), (1, "a")], [(1, "a")], 1, 0),
        ([(1, "a")], [(1, "a"), (1, "a")], 0, 1),
    ],
)
def test_every_difference_counts(expected: list[Any], actual: list[Any], missing: int, surplus: int) -> None:
    found = difference(iter(expected), iter(actual))
    assert (found.missing, found.surplus, found.equal) == (missing, surplus, False)


def test_values_are_compared_in_the_tables_form() -> None:
    instant = dt.datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    created_at = from_postgres(ORDERS_BY_STATUS, "created_at")
    assert created_at(instant) == 1_735_779_845_000_006
    assert created_at(None) is None
    assert from_postgres(ORDERS_BY_STATUS, "day")(dt.date(1970, 1, 3)) == 2


def test_a_kind_that_cannot_be_compared_is_refused_by_name() -> None:
    model = ReadModel(
        name="floats", select=select(literal(1).label("n"), column("x", Float()).label("x")), partition_key=("n",)
    )
    with pytest.raises(DemoError, match=r"floats\.x is a float"):
        from_postgres(model, "x")


def test_the_same_query_is_asked_of_postgres() -> None:
    text, constants = restricted(PRODUCT_REVIEWS)
    assert constants == {}
    assert sql_text(PRODUCT_REVIEWS.select) in text
    assert "WHERE reviews.product_id = %(product_id)s::UUID" in text
    assert "ORDER BY reviews.created_at DESC, reviews.review_id" in text
    assert text.endswith("LIMIT 100")


def test_a_scheduled_model_is_asked_for_its_key_after_its_windows() -> None:
    text, constants = restricted(CATEGORY_REPORT)
    assert text.index("WHERE answers.month = %(month)s") > text.index("rank() OVER")
    assert "cancelled" in constants.values()
    assert "month" not in constants


# --- verdict


def test_percentiles_are_in_milliseconds() -> None:
    assert percentile([0.002], 99) == 2
    assert percentile([n / 1000 for n in range(1, 102)], 50) == 51


def line(name: str, *, missing: int = 0) -> Line:
    return Line(
        name=name,
        comparison=Comparison(rows=12_345, missing=missing, surplus=0),
        readable=[0.004, 0.006],
        timing=Timing(cassandra=0.001, postgres=0.002, rows=50, keys=200),
    )


def printed(lines: list[Line]) -> str:
    out = io.StringIO()
    Printer(Console(file=out, width=120)).result(lines)
    return out.getvalue()


def test_the_table_says_what_was_found() -> None:
    text = printed([line("orders_by_user"), line("order_by_id", missing=1)])
    first, second = (row for row in text.splitlines() if "12,345" in row)
    assert [cell.strip() for cell in first.strip("│ ").split("│")] == [
        "orders_by_user", "12,345", "yes", "5.0", "6.0", "1.00", "2.00",
    ]  # fmt: skip
    assert "NO" in second


@pytest.mark.parametrize(
    ("missing", "stale", "code"), [(0, [], 0), (1, [], 1), (0, ["GET … with token 0/1"], 1), (1, ["GET …"], 1)]
)
def test_the_exit_code_is_the_verdict(missing: int, stale: list[str], code: int) -> None:
    lines = [line(model.name, missing=missing if n == 1 else 0) for n, model in enumerate(READ_MODELS)]
    assert demo.verdict(lines, stale) == code


def test_plain_progress_is_lines() -> None:
    out = io.StringIO()
    printer = Printer(Console(file=out, width=120))
    with printer.counting("commands", 10) as advance:
        advance(10)
    printer.say("done [1/2]")
    assert out.getvalue().strip().endswith("done [1/2]")


def test_clients_errors_become_one_kind_with_a_hint() -> None:
    with pytest.raises(DemoError, match="does not answer") as caught, translated():
        raise httpx.ConnectError("refused")
    assert caught.value.hint
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
