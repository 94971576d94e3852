"""A request of the demonstration's customers, and what is said in one: the words of people, places and things. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

REGIONS = ("eu-north", "eu-south", "us-east", "us-west", "ap-south")
CITIES = ("Bath", "Ely", "Leiden", "Porto", "Uppsala")
_FIRST = ("Ada", "Alan", "Barbara", "Edgar", "Grace", "Jim", "Leslie", "Margaret", "Michael", "Pat", "Tony", "Zoë")
_LAST = ("Codd", "Gray", "Hoare", "Hopper", "Lamport", "Liskov", "Lovelace", "Selinger", "Stonebraker", "Turing")
_THINGS = ("lamp", "chair", "kettle", "notebook", "bicycle", "teapot", "rucksack", "clock", "blanket", "radio")
_OPINIONS = ("just as described", "broke within a week", "would buy again", "a little loud", "très bien", "")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. what: for counting, in a customer's words. expected: the HTTP status. key: of idempotency."""

    what: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    expected: int = 200
    key: str | None = None


Journey = tuple[Request, ...]
"""Requests that go out in their order."""


def new_id(random: Random) -> UUID:
    """A uuid of the seed's sequence."""
    return UUID(int=random.getrandbits(128), version=4)


def name(random: Random) -> str:
    """A person's."""
    return f"{random.choice(_FIRST)} {random.choice(_LAST)}"


def thing(random: Random) -> str:
    """A product's name."""
    return f"{random.choice(_LAST)} {random.choice(_THINGS)}"


def opinion(random: Random) -> str:
    """What a review says."""
    return random.choice(_OPINIONS)


def money(random: Random, low: int = 100, high: int = 99_999) -> str:
    """An amount between so many cents."""
    return f"{random.randint(low, high) / 100:.2f}"
