"""What the demonstration watches: every read model is among it, with the right key, and a wrong row is not taken for it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from cassandra.util import Date

from deploy.local.demo_fill import famous_post
from deploy.local.demo_rounds import REGION, WATCHED, Rounds
from deploy.local.demo_sights import Sight, Step
from projections import INCREMENTAL
from read_api.instants import parse_timestamptz

AT = "2025-03-01T00:00:00.000007Z"
MICROS = 1_740_787_200_000_007
DAY = Date(20_148)
FAMOUS = parse_timestamptz(famous_post(1, 1)[1])


def rounds(count: int = 1) -> list[tuple[Step, tuple[Sight, ...]]]:
    """Rounds, each command answered as the write side would."""
    user = uuid4()
    made = Rounds(user=user, products=tuple(uuid4() for _ in range(4)), drivers=(uuid4(),), random=Random(1))
    row: dict[str, Any] = {}
    message: dict[str, Any] = {}
    seen = []
    for step in made.steps(count):
        request = step.request
        if request.what == "messages":
            message = {"message_id": str(uuid4()), "sent_at": AT}
        if request.method == "POST" and request.expected == 201:
            row = {**(request.body or {}), "created_at": AT, "started_at": AT, "status": "placed", "fare": None}
            row["items"] = [{**item, "unit_price": "2.50"} for item in row.get("items", ())]
        reply = (
            {"deleted": True} if request.method == "DELETE" else row | (request.body or {}) | {"items": row["items"]}
        )
        if request.what == "orders cancelled":
            reply = {"status": "cancelled"}
        if request.path.startswith("/messages"):
            reply |= message
        if "/following/" in request.path:
            reply |= {"following": request.method == "PUT"}
        if "/addresses/" in request.path:
            reply |= {"address_id": request.path.rpartition("/")[2]}
        seen.append((step, step.sights({"user_id": str(user), **reply})))
    return seen


def test_every_read_model_is_watched() -> None:
    assert WATCHED == INCREMENTAL
    assert {sight.model.name for _, sights in rounds() for sight in sights} == {model.name for model in INCREMENTAL}


def test_a_key_is_cassandras_and_a_path_the_read_apis() -> None:
    for _, sights in rounds():
        for sight in sights:
            values = dict(zip(sight.model.key, sight.key, strict=True))
            found = [column for column in sight.model.partition_key if column != "bucket"]
            assert len(sight.path.split("/")) == 1 + len(found)
            assert set(sight.parameters) == {c.column for c in sight.model.clustering}
            for column, value in values.items():
                followed = sight.model.name == "home_timeline"
                wanted = {
                    "created_at": FAMOUS if followed else MICROS,
                    "started_at": MICROS,
                    "day": DAY,
                    "date": DAY,
                    "month": DAY,
                    "bucket": 2_014,
                }
                assert value == wanted.get(column, value)
                assert isinstance(value, UUID) == column.endswith("_id")
    by_city = next(s for _, sights in rounds() for s in sights if s.model.name == "trips_by_city_date")
    assert by_city.path == f"trips_by_city_date/{by_city.key[0]}/2025-03-01"
    assert by_city.parameters["started_at"] == AT


def test_only_the_row_as_it_must_be_is_seen() -> None:
    steps = {step.request.what: sights for step, sights in rounds()}
    gone, _page = steps["reviews deleted"]
    assert gone.is_seen(None)
    assert not gone.is_seen({"rating": 5, "body": ""})
    driver, city = steps["fares corrected"]
    assert driver.columns is not None
    row = {"rider_id": UUID(driver.columns["rider_id"]), "fare": Decimal(driver.columns["fare"])}
    for sight in (driver, city):
        assert sight.is_seen(row)
        assert not sight.is_seen({**row, "fare": Decimal(0)})
        assert not sight.is_seen({**row, "fare": None})
        assert not sight.is_seen(None)
    (unfinished, _) = steps["trips started"]
    assert unfinished.is_seen({**row, "fare": None})


def test_a_rename_must_be_seen_in_orders_and_reviews() -> None:
    steps = {step.request.what: (step, sights) for step, sights in rounds()}
    called = (steps["renames"][0].request.body or {})["name"]
    *orders, profile = steps["renames"][1]
    assert all((sight.columns or {})["user_name"] == called for sight in orders)
    assert (profile.columns or {})["name"] == called
    assert (steps["posts"][1][0].columns or {})["author_name"] == called
    assert (steps["reviews written"][1][0].columns or {})["author_name"] == called
    assert "user_name" not in (steps["orders placed"][1][0].columns or {})


def of(name: str, count: int) -> list[tuple[str, Sight]]:
    return [(s.request.what, sight) for s, sights in rounds(count) for sight in sights if sight.model.name == name]


def test_a_cancelled_order_must_leave_its_days_sales() -> None:
    first, second, without, third = (sight for _, sight in of("daily_sales_by_region", 3))
    assert {sight.key for sight in (first, second, without, third)} == {(REGION, DAY, DAY)}
    assert [(s.columns or {})["orders"] for s in (first, second, without, third)] == ["1", "2", "1", "2"]
    assert first.columns == without.columns
    assert first.is_seen({column: Decimal(text) for column, text in (first.columns or {}).items()})


def test_a_region_without_orders_must_have_no_row() -> None:
    made = Rounds(user=uuid4(), products=(uuid4(),), drivers=(uuid4(),), random=Random(1))
    items = [{"quantity": 2, "unit_price": "2.50"}]
    placed, *_, cancelled = list(made._order(cancelled=True))
    placed.sights({"status": "placed", "created_at": AT, "items": items})
    assert cancelled.sights({"status": "cancelled"})[-1].is_seen(None)


def test_every_review_moves_the_products_figures_and_its_delete_moves_them_back() -> None:
    pages = of("product_page", 4)
    assert {what for what, _ in pages} >= {"reviews written", "reviews deleted"}
    counts = Counter((what, (sight.columns or {})["review_count"]) for what, sight in pages)
    assert counts["reviews written", "2001"] == counts["reviews deleted", "2000"] == 4
    written, *_, deleted = pages[:3]
    assert (deleted[1].columns or {})["rating_sum"] == "6000"
    assert (written[1].columns or {})["rating_sum"] != "6000"


class Address(NamedTuple):
    """As the driver gives a document's row."""

    address_id: UUID
    label: str
    line: str
    city: str
    postcode: str


def test_a_profile_must_show_the_first_twenty_addresses_and_that_there_are_more() -> None:
    sights = [sight for what, sight in of("user_profile", 14) if what.startswith("addresses")]
    assert [(s.columns or {})["addresses_truncated"] for s in sights[-3:]] == ["True", "False", "False"]
    last = sights[-1]
    assert last.columns is not None
    texts = [text.split(", ") for text in last.columns["addresses"].split("; ")]
    assert len(texts) == 20
    rows = [Address(UUID(address), *rest) for address, *rest in texts]
    assert last.is_seen({"addresses": rows, "addresses_truncated": False})
    assert last.is_seen({"addresses": [row._asdict() for row in rows], "addresses_truncated": False})
    assert not last.is_seen({"addresses": rows[1:], "addresses_truncated": False})
    assert not last.is_seen({"addresses": rows, "addresses_truncated": True})


def test_each_step_changes_what_must_be_seen() -> None:
    last: dict[tuple[Any, ...], Any] = {}
    for step, sights in rounds(14):
        for sight in sights:
            if step.request.what not in ("reviews edited", "fares corrected", "renames"):  # by chance to the same
                assert last.get((sight.model.name, sight.key), ()) != sight.columns, step.request
            last[sight.model.name, sight.key] = sight.columns


def test_a_channels_messages_must_be_counted_in_their_bucket() -> None:
    counts = [(sight.columns or {})["message_count"] for _, sight in of("message_buckets_by_channel", 4)]
    assert counts == ["1", "2", "1", "2", "3", "2"]
    assert [what for what, sight in of("messages_by_channel", 2) if sight.columns is None] == ["messages deleted"]


def test_an_old_post_must_come_with_its_author_and_go_again() -> None:
    for name in ("followees_by_user", "home_timeline"):
        seen = [(what, sight.columns is None) for what, sight in of(name, 2)]
        assert seen == [("follows", False), ("unfollows", True)] * 2
    assert len({sight.key for _, sight in of("home_timeline", 2)}) == 2, "another author each round"


def test_likes_must_be_counted() -> None:
    assert [(sight.columns or {})["like_count"] for _, sight in of("posts_by_author", 1)] == ["0", "1", "2", "1"]
