"""What customers do beside their orders: they review products, take trips, move house, publish posts and like them. Pure.

Reviews are edited and deleted, fares corrected, likes given twice and taken back; what the write side must refuse (a
second review, a fare before the finish) is among it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from uuid import UUID

from deploy.local.demo_request import CITIES, Journey, Request, money, name, new_id, opinion


def write_review(review: UUID, product: UUID, user: UUID, random: Random) -> Request:
    """A user's review of a product."""
    body = {
        "review_id": str(review),
        "product_id": str(product),
        "user_id": str(user),
        "rating": random.randint(1, 5),
        "body": opinion(random),
    }
    return Request(what="reviews written", method="POST", path="/reviews", body=body, expected=201)


def edit_review(review: UUID, random: Random) -> Request:
    """Second thoughts."""
    body = {"rating": random.randint(1, 5), "body": opinion(random)}
    return Request(what="reviews edited", method="PUT", path=f"/reviews/{review}", body=body)


def delete_review(review: UUID) -> Request:
    """As if it had not been."""
    return Request(what="reviews deleted", method="DELETE", path=f"/reviews/{review}")


def register_driver(driver: UUID, random: Random) -> Request:
    """A driver."""
    body = {"driver_id": str(driver), "name": name(random)}
    return Request(what="drivers", method="POST", path="/drivers", body=body, expected=201)


def start_trip(trip: UUID, driver: UUID, rider: UUID, random: Random) -> Request:
    """A rider gets in."""
    ids = {"trip_id": str(trip), "driver_id": str(driver), "rider_id": str(rider)}
    return Request(
        what="trips started", method="POST", path="/trips", body={**ids, "city": random.choice(CITIES)}, expected=201
    )


def finish_trip(trip: UUID, random: Random) -> Request:
    """The rider gets out and pays."""
    body = {"fare": money(random, 300, 9_999)}
    return Request(what="trips finished", method="POST", path=f"/trips/{trip}/finish", body=body)


def correct_fare(trip: UUID, random: Random) -> Request:
    """The fare was another one."""
    body = {"fare": money(random, 300, 9_999)}
    return Request(what="fares corrected", method="PUT", path=f"/trips/{trip}/fare", body=body)


def reviews(random: Random, users: Sequence[UUID], products: Sequence[UUID], count: int) -> Iterator[Journey]:
    """Journeys of `count` pairs of a user and a product, no pair twice."""
    for number in random.sample(range(len(users) * len(products)), count):
        user, product = users[number % len(users)], products[number // len(users)]
        yield tuple(_review(random, new_id(random), product, user))


def _review(random: Random, review: UUID, product: UUID, user: UUID) -> Iterator[Request]:
    yield write_review(review, product, user, random)
    if random.random() < 0.1:
        again = write_review(new_id(random), product, user, random)
        yield Request(**{**vars(again), "what": "second reviews refused", "expected": 409})
    if random.random() < 0.4:
        yield edit_review(review, random)
    if random.random() < 0.2:
        yield delete_review(review)


def trips(random: Random, users: Sequence[UUID], drivers: Sequence[UUID], count: int) -> Iterator[Journey]:
    """Journeys of `count` trips."""
    for _ in range(count):
        yield tuple(_trip(random, new_id(random), random.choice(drivers), random.choice(users)))


def _trip(random: Random, trip: UUID, driver: UUID, rider: UUID) -> Iterator[Request]:
    yield start_trip(trip, driver, rider, random)
    if random.random() < 0.1:
        early = correct_fare(trip, random)
        yield Request(**{**vars(early), "what": "early fares refused", "expected": 409})
    if random.random() < 0.9:
        yield finish_trip(trip, random)
        if random.random() < 0.4:
            yield correct_fare(trip, random)


def rename_driver(driver: UUID, random: Random) -> Request:
    """A driver's other name."""
    path = f"/drivers/{driver}/name"
    return Request(what="drivers renamed", method="PUT", path=path, body={"name": name(random)})


def posts(random: Random, users: Sequence[UUID], count: int) -> Iterator[Journey]:
    """Journeys of `count` posts, each with its likes."""
    for _ in range(count):
        yield tuple(_post(random, new_id(random), random.choice(users), users))


def publish(post: UUID, author: UUID, random: Random) -> Request:
    """A post."""
    body = {"post_id": str(post), "author_id": str(author), "body": "An idea: " + (opinion(random) or "none")}
    return Request(what="posts", method="POST", path="/posts", body=body, expected=201)


def like(post: UUID, user: UUID) -> Request:
    """A user likes a post."""
    return Request(what="likes", method="PUT", path=f"/posts/{post}/likes/{user}")


def unlike(post: UUID, user: UUID) -> Request:
    """No longer."""
    return Request(what="likes taken back", method="DELETE", path=f"/posts/{post}/likes/{user}")


def _post(random: Random, post: UUID, author: UUID, users: Sequence[UUID]) -> Iterator[Request]:
    yield publish(post, author, random)
    for user in random.sample(users, random.randint(0, 8)):
        liked = like(post, user)
        yield liked
        roll = random.random()
        if roll < 0.15:
            yield Request(**{**vars(liked), "what": "likes given twice"})
        elif roll < 0.3:
            yield unlike(post, user)
    if random.random() < 0.2:
        yield Request(what="posts edited", method="PUT", path=f"/posts/{post}/body", body={"body": "Better not."})
    elif random.random() < 0.2:
        yield Request(what="posts deleted", method="DELETE", path=f"/posts/{post}")


def send_message(channel: UUID, author: UUID, random: Random) -> Request:
    """A message; its id, which says when it was sent, is in the reply."""
    body = {"channel_id": str(channel), "author_id": str(author), "body": "Well: " + (opinion(random) or "never mind")}
    return Request(what="messages", method="POST", path="/messages", body=body, expected=201)


def edit_message(message: UUID, random: Random) -> Request:
    """Second thoughts about a message."""
    body = {"body": f"Rather: {random.randrange(1_000_000)}"}
    return Request(what="messages edited", method="PUT", path=f"/messages/{message}/body", body=body)


def delete_message(message: UUID) -> Request:
    """As if nothing had been said."""
    return Request(what="messages deleted", method="DELETE", path=f"/messages/{message}")


def add_address(user: UUID, address: UUID, random: Random) -> Request:
    """One more address."""
    path = f"/users/{user}/addresses"
    body = {"address_id": str(address), **_place(random)}
    return Request(what="addresses added", method="POST", path=path, body=body, expected=201)


def change_address(user: UUID, address: UUID, random: Random) -> Request:
    """The address as it shall be."""
    path = f"/users/{user}/addresses/{address}"
    return Request(what="addresses changed", method="PUT", path=path, body=_place(random))


def remove_address(user: UUID, address: UUID) -> Request:
    """One address less."""
    return Request(what="addresses removed", method="DELETE", path=f"/users/{user}/addresses/{address}")


def _place(random: Random) -> dict[str, str]:
    line, city = f"{random.randint(1, 999)} Mill Lane", random.choice(CITIES)
    return {"label": random.choice(("home", "work")), "line": line, "city": city, "postcode": city[:2].upper()}


def addresses(random: Random, users: Sequence[UUID], count: int) -> Iterator[Journey]:
    """Journeys of `count` addresses."""
    for _ in range(count):
        yield tuple(_address(random, new_id(random), random.choice(users)))


def _address(random: Random, address: UUID, user: UUID) -> Iterator[Request]:
    yield add_address(user, address, random)
    if random.random() < 0.4:
        yield change_address(user, address, random)
    if random.random() < 0.2:
        yield remove_address(user, address)
