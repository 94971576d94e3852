"""The watched commands, and what each must change. Pure.

One round: an order on its way, delivered or cancelled, with its user renamed; a review of the product that everybody has
reviewed, written, edited and deleted; a trip whose fare is corrected; addresses added until the profile holds no more;
a post and its likes; a message, edited, and deleted in turn; an author followed, whose old posts come, and unfollowed. What nobody else changes is watched: the orders are of a region of their own, so that its sales of
the day follow from the replies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from deploy.local import demo_customers as customers
from deploy.local import demo_feeds as feeds
from deploy.local.demo_fill import (
    FAMOUS,
    FAVOURITE,
    QUIET,
    famous_post,
    favourite_stars,
    filled_channel,
    filled_product,
    filled_user,
)
from deploy.local.demo_plan import cancel, move, place, rename
from deploy.local.demo_request import Request, name, new_id
from deploy.local.demo_sights import Reply, Sight, Step, shown, sight
from projections.feeds import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.messages import MESSAGE_BUCKETS_BY_CHANNEL, MESSAGES_BY_CHANNEL
from projections.orders import ORDER_BY_ID, ORDERS_BY_STATUS, ORDERS_BY_USER
from projections.people import USER_PROFILE
from projections.posts import POST_BY_ID
from projections.products import PRODUCT_PAGE
from projections.reviews import PRODUCT_REVIEWS
from projections.sales import DAILY_SALES_BY_REGION
from projections.trips import TRIPS_BY_CITY_DATE, TRIPS_BY_DRIVER

WATCHED = (
    ORDERS_BY_USER,
    ORDER_BY_ID,
    ORDERS_BY_STATUS,
    PRODUCT_PAGE,
    PRODUCT_REVIEWS,
    DAILY_SALES_BY_REGION,
    USER_PROFILE,
    POST_BY_ID,
    TRIPS_BY_DRIVER,
    TRIPS_BY_CITY_DATE,
    MESSAGES_BY_CHANNEL,
    MESSAGE_BUCKETS_BY_CHANNEL,
    POSTS_BY_AUTHOR,
    FOLLOWEES_BY_USER,
    HOME_TIMELINE,
)
REGION = "antarctica"
_MOST_ADDRESSES = 20


@dataclass(kw_only=True)
class Rounds:
    """Makes the steps, one after the other, each with what the steps before have left in mind.

    The user's name is what the last step has made it, unknown at first.
    """

    user: UUID
    products: tuple[UUID, ...]
    drivers: tuple[UUID, ...]
    random: Random
    _called: str | None = None
    _sold: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _stars: Counter[int] = field(default_factory=favourite_stars)
    _addresses: dict[str, Reply] = field(default_factory=dict)
    _messages: Counter[str] = field(default_factory=Counter)

    def steps(self, rounds: int) -> Iterator[Step]:
        """Every step of so many rounds."""
        for number in range(rounds):
            yield from self._order(cancelled=number % 2 == 1)
            yield from self._review()
            yield from self._trip()
            yield from self._house()
            yield from self._post()
            yield from self._message(deleted=number % 2 == 1)
            yield from self._follow(1 + number % (FAMOUS - 1))

    def _order(self, *, cancelled: bool) -> Iterator[Step]:
        order, row = new_id(self.random), dict[str, Any]()

        def seen(reply: Reply) -> tuple[Sight, ...]:
            row.update({column: reply[column] for column in ("status", "created_at", "items") if column in reply})
            row.update(order_id=str(order), user_id=str(self.user), region=REGION)
            columns = {"status": row["status"], **self._named("user_name")}
            lines = {"item_count": shown(len(row["items"])), "total": shown(_total(row["items"]))}
            return (
                sight(ORDERS_BY_USER, row, columns | lines),
                *(sight(model, row, columns) for model in (ORDER_BY_ID, ORDERS_BY_STATUS)),
            )

        def sold(reply: Reply) -> tuple[Sight, ...]:
            sights = seen(reply)
            orders = self._sold.setdefault(row["created_at"][:10], [])
            orders.remove(row) if row["status"] == "cancelled" else orders.append(row)
            return *sights, sight(DAILY_SALES_BY_REGION, row, _sales(orders))

        def called(reply: Reply) -> tuple[Sight, ...]:
            # A rename's reply is the user's: the order stays as it was.
            return *seen({}), sight(USER_PROFILE, reply, self._named("name"))

        request = place(order, self.user, self.products, self.random, region=REGION)
        yield Step(request=request, sights=sold)
        self._called = name(self.random)
        yield Step(request=rename(self.user, self._called), sights=called)
        yield Step(request=move(order, "paid"), sights=seen)
        if cancelled:
            yield Step(request=cancel(order), sights=sold)
        else:
            for status in ("shipped", "delivered"):
                yield Step(request=move(order, status), sights=seen)

    def _review(self) -> Iterator[Step]:
        review, row = new_id(self.random), dict[str, Any]()

        def seen(reply: Reply) -> tuple[Sight, ...]:
            before = row.get("rating")
            row.update(reply)
            columns = {"rating": shown(row["rating"]), "body": row["body"], **self._named("author_name")}
            gone = bool(row.get("deleted"))
            shows = [sight(PRODUCT_REVIEWS, row, None if gone else columns)]
            if gone or row["rating"] != before:
                self._stars.subtract([] if before is None else [before])
                self._stars.update([] if gone else [row["rating"]])
                shows.append(sight(PRODUCT_PAGE, row, _opinions(self._stars)))
            return tuple(shows)

        product = filled_product(FAVOURITE)
        yield Step(request=customers.write_review(review, product, self.user, self.random), sights=seen)
        yield Step(request=customers.edit_review(review, self.random), sights=seen)
        yield Step(request=customers.delete_review(review), sights=seen)

    def _trip(self) -> Iterator[Step]:
        trip, driver = new_id(self.random), self.random.choice(self.drivers)

        def seen(reply: Reply) -> tuple[Sight, ...]:
            columns = {"fare": shown(reply["fare"]), "rider_id": reply["rider_id"]}
            return tuple(sight(model, reply, columns) for model in (TRIPS_BY_DRIVER, TRIPS_BY_CITY_DATE))

        yield Step(request=customers.start_trip(trip, driver, self.user, self.random), sights=seen)
        yield Step(request=customers.finish_trip(trip, self.random), sights=seen)
        yield Step(request=customers.correct_fare(trip, self.random), sights=seen)

    def _house(self) -> Iterator[Step]:
        def seen(reply: Reply) -> tuple[Sight, ...]:
            self._addresses[reply["address_id"]] = reply
            if reply.get("deleted"):
                del self._addresses[reply["address_id"]]
            return (sight(USER_PROFILE, {"user_id": str(self.user)}, _profile(self._addresses)),)

        for _ in range(2):  # the twenty-first is not shown, but that there is one more
            yield Step(request=self._move_house(), sights=seen)
        yield Step(request=customers.change_address(self.user, self._shown_address(), self.random), sights=seen)

    def _move_house(self) -> Request:
        if len(self._addresses) <= _MOST_ADDRESSES:
            return customers.add_address(self.user, new_id(self.random), self.random)
        return customers.remove_address(self.user, self._shown_address())

    def _shown_address(self) -> UUID:
        return UUID(self.random.choice(sorted(self._addresses)[:_MOST_ADDRESSES]))

    def _post(self) -> Iterator[Step]:
        post, likes, row = new_id(self.random), set[UUID](), dict[str, Any]()

        def counted(_reply: Reply) -> tuple[Sight, ...]:
            """Where likes are counted at once; elsewhere they may be seconds late (`ReadModel.budgets`)."""
            columns = {"like_count": shown(len(likes)), **self._named("author_name")}
            return (sight(POSTS_BY_AUTHOR, row, columns),)

        def published(reply: Reply) -> tuple[Sight, ...]:
            row.update(reply)
            return *counted(reply), sight(POST_BY_ID, row, {"body": row["body"], **self._named("author_name")})

        yield Step(request=customers.publish(post, self.user, self.random), sights=published)
        for user in (self.user, filled_user(0)):
            likes.add(user)
            yield Step(request=customers.like(post, user), sights=counted)
        likes.remove(self.user)
        yield Step(request=customers.unlike(post, self.user), sights=counted)

    def _message(self, *, deleted: bool) -> Iterator[Step]:
        row = dict[str, Any]()

        def seen(reply: Reply) -> tuple[Sight, ...]:
            row.update(reply)
            gone = bool(row.get("deleted"))
            columns = {"body": row["body"], **self._named("author_name")}
            return (sight(MESSAGES_BY_CHANNEL, row, None if gone else columns),)

        def counted(reply: Reply) -> tuple[Sight, ...]:
            sights = seen(reply)
            index = sight(MESSAGE_BUCKETS_BY_CHANNEL, row, None)
            self._messages[index.parameters["bucket"]] += -1 if row.get("deleted") else 1
            count = self._messages[index.parameters["bucket"]]
            return *sights, replace(index, columns={"message_count": shown(count)} if count else None)

        request = customers.send_message(filled_channel(QUIET), self.user, self.random)
        yield Step(request=request, sights=counted)
        message = UUID(row["message_id"])
        yield Step(request=customers.edit_message(message, self.random), sights=seen)
        if deleted:
            yield Step(request=customers.delete_message(message), sights=counted)

    def _follow(self, number: int) -> Iterator[Step]:
        """Of an author who is not hot: a hot one's posts are in no timeline until it is read."""
        author, (post, at) = filled_user(number), famous_post(number, 1)
        row = {"user_id": str(self.user), "author_id": str(author), "post_id": str(post), "created_at": at}

        def seen(reply: Reply) -> tuple[Sight, ...]:
            columns = {"author_id": row["author_id"]} if reply["following"] else None
            return tuple(sight(model, row, columns) for model in (FOLLOWEES_BY_USER, HOME_TIMELINE))

        yield Step(request=feeds.follow(self.user, author), sights=seen)
        yield Step(request=feeds.unfollow(self.user, author), sights=seen)

    def _named(self, column: str) -> dict[str, str]:
        """The user's name as a column of a row, once it is known."""
        return {} if self._called is None else {column: self._called}


def _total(items: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(item["unit_price"]) * item["quantity"] for item in items), Decimal("0.00"))


def _sales(orders: list[dict[str, Any]]) -> dict[str, str] | None:
    """The row of a day; a day without sales has none."""
    if not orders:
        return None
    units = sum(item["quantity"] for order in orders for item in order["items"])
    revenue = sum((_total(order["items"]) for order in orders), Decimal("0.00"))
    return {"orders": shown(len(orders)), "units": shown(units), "revenue": shown(revenue)}


def _opinions(stars: Counter[int]) -> dict[str, str]:
    total = sum(rating * count for rating, count in stars.items())
    ratings = {f"rating_{rating}": shown(stars[rating]) for rating in range(1, 6)}
    return {"review_count": shown(stars.total()), "rating_sum": shown(total), **ratings}


def _profile(addresses: dict[str, Reply]) -> dict[str, str]:
    columns = ("address_id", "label", "line", "city", "postcode")
    first = sorted(addresses)[:_MOST_ADDRESSES]
    return {
        "addresses": shown([[addresses[address][column] for column in columns] for address in first]),
        "addresses_truncated": shown(len(addresses) > _MOST_ADDRESSES),
    }
