"""Who follows whom in the demonstration, by a power law, and what those do who are followed. Pure.

User n has about `MOST_FOLLOWERS` / (n + 1) followers: the first more than `THRESHOLD`, which makes that one hot, the next
half as many, most of them one or none. The first `FAMOUS` have posted; one user in ten has not been seen for long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from uuid import UUID

from deploy.local import demo_customers as customers
from deploy.local.demo_fill import FAMOUS, filled_user
from deploy.local.demo_request import Journey, Request, new_id

THRESHOLD = 1_000


def follow(reader: UUID, author: UUID) -> Request:
    """A user follows another."""
    return Request(what="follows", method="PUT", path=f"/users/{reader}/following/{author}")


def unfollow(reader: UUID, author: UUID) -> Request:
    """No longer."""
    return Request(what="unfollows", method="DELETE", path=f"/users/{reader}/following/{author}")


def heartbeat(user: UUID) -> Request:
    """A user is there."""
    return Request(what="heartbeats", method="PUT", path=f"/users/{user}/last-seen", body={})


def journeys(random: Random, users: Sequence[UUID], count: int) -> Iterator[Journey]:
    """Of `count` users who come, follow famous ones, and see them post; some leave them again."""
    for number in range(count):
        # The first is hot, the others are copied.
        author, reader = filled_user(min(int(random.expovariate(0.5)), FAMOUS - 1)), random.choice(users)
        journey = [heartbeat(reader), follow(reader, author)]
        if number % 3 == 0:
            journey.append(customers.publish(new_id(random), author, random))
        if number % 4 == 0:
            journey.append(unfollow(reader, author))
        yield tuple(journey)
    friend = random.choice(users)
    yield (
        *(follow(user, friend) for user in random.sample([user for user in users if user != friend], 10)),
        customers.publish(new_id(random), friend, random),
        Request(what="all followers removed", method="DELETE", path=f"/users/{friend}/followers"),
    )
