"""What is watched: commands, and where each must be seen once it is committed. Pure.

A step's sights follow from its reply, since keys hold the time that the write side has given. One round is an order on
its way with its user renamed, a review written, edited and deleted, and a trip whose fare is corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from cassandra.util import Date

from deploy.local.demo_customers import (
    correct_fare,
    delete_review,
    edit_review,
    finish_trip,
    start_trip,
    write_review,
)
from deploy.local.demo_plan import move, place, rename
from deploy.local.demo_request import Request, name, new_id
from projections.orders import ORDER_BY_ID, ORDERS_BY_STATUS, ORDERS_BY_USER
from projections.read_model import ReadModel
from projections.reviews import PRODUCT_REVIEWS
from projections.trips import TRIPS_BY_CITY_DATE, TRIPS_BY_DRIVER
from read_api.instants import MICROS_PER_DAY, parse_timestamptz

WATCHED = (ORDERS_BY_USER, ORDER_BY_ID, ORDERS_BY_STATUS, PRODUCT_REVIEWS, TRIPS_BY_DRIVER, TRIPS_BY_CITY_DATE)
Reply = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One row of a read model as it must be. key: Cassandra's values in the order of the model's key.

    columns: name to text (`shown`), None when the row must be gone. path, parameters: the read API's for that row.
    """

    model: ReadModel
    key: tuple[Any, ...]
    columns: Mapping[str, str] | None
    path: str
    parameters: Mapping[str, str]

    def is_seen(self, row: Mapping[str, Any] | None) -> bool:
        """Whether a row that was read, or its absence, is what must be seen."""
        if row is None or self.columns is None:
            return row is None and self.columns is None
        return all(shown(row[column]) == text for column, text in self.columns.items())


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and, given its reply, what must be seen; the first sight is the one that is read with a token."""

    request: Request
    sights: Callable[[Reply], tuple[Sight, ...]]


def shown(value: Any) -> str:
    """A value of Cassandra or of the read API as text that both have in common."""
    return "none" if value is None else str(value)


def sight(model: ReadModel, row: Reply, instant: str, columns: Mapping[str, str] | None) -> Sight:
    """The sight of a row whose key is in `row` (the write side's reply) and made of its time, the column `instant`."""
    micros = parse_timestamptz(row[instant])
    day = micros // MICROS_PER_DAY
    texts = {**row, "day": str(Date(day)), "date": str(Date(day))}
    values = {name: UUID(text) if name.endswith("_id") else text for name, text in texts.items() if name in model.key}
    values |= {instant: micros, "day": Date(day), "date": Date(day)}
    clustering = [c.column for c in model.clustering]
    return Sight(
        model=model,
        key=tuple(values[column] for column in model.key),
        columns=columns,
        path="/".join((model.name, *(texts[column] for column in model.partition_key))),
        parameters={column: texts[column] for column in clustering},
    )


@dataclass(kw_only=True)
class Rounds:
    """Makes the steps, one after the other; the user's name is what the last step has made it, unknown at first."""

    user: UUID
    products: tuple[UUID, ...]
    drivers: tuple[UUID, ...]
    random: Random
    _called: dict[str, str] = field(default_factory=dict)

    def steps(self, rounds: int) -> Iterator[Step]:
        """Every step of so many rounds."""
        for _ in range(rounds):
            yield from self._order()
            yield from self._review()
            yield from self._trip()

    def _order(self) -> Iterator[Step]:
        order, row = new_id(self.random), dict[str, Any]()

        def seen(reply: Reply) -> tuple[Sight, ...]:
            # A rename's reply is the user's: the order stays as it was.
            row.update({column: reply[column] for column in ("status", "created_at") if column in reply})
            row.update(order_id=str(order), user_id=str(self.user))
            columns = {"status": row["status"], **{"user_" + column: text for column, text in self._called.items()}}
            return tuple(sight(model, row, "created_at", columns) for model in WATCHED[:3])

        yield Step(request=place(order, self.user, self.products, self.random), sights=seen)
        self._called["name"] = name(self.random)
        yield Step(request=rename(self.user, self._called["name"]), sights=seen)
        for status in ("paid", "shipped", "delivered"):
            yield Step(request=move(order, status), sights=seen)

    def _review(self) -> Iterator[Step]:
        review, row = new_id(self.random), dict[str, Any]()

        def seen(reply: Reply) -> tuple[Sight, ...]:
            row.update(reply)
            columns = {"rating": shown(row["rating"]), "body": row["body"]}
            columns |= {"author_" + column: text for column, text in self._called.items()}
            return (sight(PRODUCT_REVIEWS, row, "created_at", None if row.get("deleted") else columns),)

        product = self.random.choice(self.products)
        yield Step(request=write_review(review, product, self.user, self.random), sights=seen)
        yield Step(request=edit_review(review, self.random), sights=seen)
        yield Step(request=delete_review(review), sights=seen)

    def _trip(self) -> Iterator[Step]:
        trip, driver = new_id(self.random), self.random.choice(self.drivers)

        def seen(reply: Reply) -> tuple[Sight, ...]:
            columns = {"fare": shown(reply["fare"]), "rider_id": reply["rider_id"]}
            return tuple(sight(model, reply, "started_at", columns) for model in (TRIPS_BY_DRIVER, TRIPS_BY_CITY_DATE))

        yield Step(request=start_trip(trip, driver, self.user, self.random), sights=seen)
        yield Step(request=finish_trip(trip, self.random), sights=seen)
        yield Step(request=correct_fare(trip, self.random), sights=seen)
