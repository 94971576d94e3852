"""What the demonstration's customers do: requests to the command API, the same for the same seed. Pure.

A journey is sent in its order, journeys among each other in any: the ids are made here, so a journey needs nothing of
another's replies. Each request says which status it expects, refusals included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from deploy.local import demo_customers, demo_feeds
from deploy.local.demo_fill import CATEGORIES, filled_category, filled_user
from deploy.local.demo_request import REGIONS, Journey, Request, money, name, new_id, thing

# How an order's life ends, and how often of 100.
_LIVES = (
    ((), 15),
    (("paid",), 15),
    (("paid", "shipped"), 10),
    (("paid", "shipped", "delivered"), 40),
    (("cancel",), 8),
    (("paid", "cancel"), 6),
    (("paid", "delete"), 6),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """First `catalogue` and `sign_ups`, then `journeys`; `probed` is the user whose commands are watched."""

    catalogue: tuple[Journey, ...]
    sign_ups: tuple[Journey, ...]
    journeys: tuple[Journey, ...]
    products: tuple[UUID, ...] = field(repr=False)
    drivers: tuple[UUID, ...] = field(repr=False)
    probed: UUID

    @property
    def requests(self) -> int:
        """How many there are."""
        return sum(len(j) for part in (self.catalogue, self.sign_ups, self.journeys) for j in part)


def place(
    order_id: UUID,
    user_id: UUID,
    products: tuple[UUID, ...],
    random: Random,
    *,
    region: str | None = None,
    key: str | None = None,
) -> Request:
    """An order of one to four lines, in some region or the one given."""
    items = [
        {"product_id": str(product), "quantity": random.randint(1, 3)}
        for product in random.sample(products, random.randint(1, 4))
    ]
    body = {
        "order_id": str(order_id),
        "user_id": str(user_id),
        "region": region or random.choice(REGIONS),
        "items": items,
    }
    return Request(what="orders placed", method="POST", path="/orders", body=body, expected=201, key=key)


def move(order_id: UUID, status: str) -> Request:
    """An order's next status."""
    body = {"status": status}
    return Request(what=f"orders {status}", method="PUT", path=f"/orders/{order_id}/status", body=body)


def cancel(order_id: UUID) -> Request:
    """An order that won't come."""
    return Request(what="orders cancelled", method="POST", path=f"/orders/{order_id}/cancel")


def rename(user_id: UUID, to: str) -> Request:
    """A user's other name."""
    return Request(what="renames", method="PUT", path=f"/users/{user_id}/name", body={"name": to})


def make_plan(seed: int, *, users: int = 150, orders: int = 300, filled_users: int = 0) -> Plan:
    """The plan of a seed; `filled_users` of `demo_fill` are renamed too, each with many copies of the name."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    products = tuple(new_id(random) for _ in range(30))
    drivers = tuple(new_id(random) for _ in range(12))
    categories = tuple(filled_category(n) for n in range(CATEGORIES if filled_users else 0))
    catalogue = tuple(
        (_create(product, categories[n % len(categories)] if categories and n % 7 else None, random),)
        for n, product in enumerate(products)
    )
    catalogue += tuple((demo_customers.register_driver(driver, random),) for driver in drivers)
    people = tuple(new_id(random) for _ in range(users))
    # One in six is not seen after that: the timeline is Postgres's until it is read.
    sign_ups = tuple(
        (_register(user, random), *([] if n % 6 == 5 else [demo_feeds.heartbeat(user)]))
        for n, user in enumerate(people)
    )
    customers, leavers = people[:-3], people[-3:]
    journeys = [_order(random, random.choice(customers[1:]), products) for _ in range(orders)]
    journeys += [(rename(random.choice(customers[1:]), name(random)),) for _ in range(40)]
    journeys += [
        (rename(filled_user(random.randrange(filled_users)), name(random)),) for _ in range(20 if filled_users else 0)
    ]
    journeys += [(_avatar(random.choice(customers[1:]), random),) for _ in range(40)]
    journeys += [(_price(random.choice(products), random),) for _ in range(10)]
    journeys += [(Request(what="users deleted", method="DELETE", path=f"/users/{user}"),) for user in leavers]
    active = customers[1:]
    journeys += demo_customers.reviews(random, active, products, 150)
    journeys += demo_customers.trips(random, active, drivers, 120)
    journeys += demo_customers.posts(random, active, 40)
    journeys += demo_feeds.journeys(random, active, 60 if filled_users else 0)
    journeys += [(demo_customers.rename_driver(random.choice(drivers), random),) for _ in range(10)]
    journeys += demo_customers.addresses(random, active, 60)
    journeys += [
        (_category(random.choice(products), random.choice(categories)),) for _ in range(12 if categories else 0)
    ]
    random.shuffle(journeys)
    return Plan(
        catalogue=catalogue,
        sign_ups=sign_ups,
        journeys=tuple(journeys),
        products=products,
        drivers=drivers,
        probed=people[0],
    )


def _create(product: UUID, category: UUID | None, random: Random) -> Request:
    body = {
        **({"category_id": str(category)} if category else {}),
        "product_id": str(product),
        "name": thing(random),
        "price": money(random),
    }
    return Request(what="products", method="POST", path="/products", body=body, expected=201)


def _register(user: UUID, random: Random) -> Request:
    body = {"user_id": str(user), "name": name(random)}
    return Request(what="sign-ups", method="POST", path="/users", body=body, expected=201)


def _avatar(user: UUID, random: Random) -> Request:
    body = {"avatar_url": f"https://pictures.example/{random.randrange(1_000)}.png"}
    return Request(what="avatars", method="PUT", path=f"/users/{user}/avatar", body=body)


def _price(product: UUID, random: Random) -> Request:
    body = {"price": money(random)}
    return Request(what="prices", method="PUT", path=f"/products/{product}/price", body=body)


def _category(product: UUID, category: UUID) -> Request:
    body = {"category_id": str(category)}
    return Request(what="products moved", method="PUT", path=f"/products/{product}/category", body=body)


def _order(random: Random, user: UUID, products: tuple[UUID, ...]) -> Journey:
    return tuple(_life(random, new_id(random), user, products))


def _life(random: Random, order: UUID, user: UUID, products: tuple[UUID, ...]) -> Iterator[Request]:
    placed = place(order, user, products, random, key=f"demo-{order}")
    yield placed
    if random.random() < 0.05:  # the client has not seen the reply: the same key again, and nothing is written
        yield Request(**{**vars(placed), "what": "repeated with their key"})
    if random.random() < 0.05:
        body = {"status": "delivered"}
        path = f"/orders/{order}/status"
        yield Request(what="forbidden moves refused", method="PUT", path=path, body=body, expected=409)
    steps = random.choices([steps for steps, _ in _LIVES], [weight for _, weight in _LIVES])[0]
    for step in steps:
        if step == "cancel":
            yield cancel(order)
        elif step == "delete":
            yield Request(what="orders deleted", method="DELETE", path=f"/orders/{order}")
        else:
            yield move(order, step)
