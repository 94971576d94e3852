"""Whose a command is: the caller must be that user, or hold the group's ``:any`` scope.

    POST /posts  {"author_id": …}      the author in the body         → checked before anything is looked up
    PUT /users/{user_id}/name          the user in the path           → likewise
    PUT /posts/{post_id}/body          the post's author in Postgres  → in the command's own transaction, before its work

A route without a rule here is for ``:any`` alone, so that a new one is closed until somebody has said whose it is. The
group of a scope (``command:posts``) is the route's tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

from psycopg import sql

from command_api.commands.fields import Command
from command_api.commands.outcome import Outcome
from command_api.database import Connection
from command_api.errors import RefusedAccessError
from command_api.execute import Work
from command_api.process.access.caller import Caller, Kind
from command_api.process.access.errors import AccessError


@dataclass(frozen=True, kw_only=True)
class Nobodys:
    """The scope is enough."""


@dataclass(frozen=True, kw_only=True)
class Everybodys:
    """Only with ``:any``: operators' commands."""


@dataclass(frozen=True, kw_only=True)
class InPath:
    """The path's parameter is the user."""

    name: str = "user_id"


@dataclass(frozen=True, kw_only=True)
class InBody:
    """The body's field is the user; without it the command is everybody's."""

    name: str


@dataclass(frozen=True, kw_only=True)
class InRow:
    """The row that the path's parameter (named as its key) leads to says who."""

    table: str
    owner: str
    key: str

    @property
    def statement(self) -> sql.Composed:
        """The owner by key."""
        names = (sql.Identifier(name) for name in (self.owner, self.table, self.key))
        return sql.SQL("select {} from {} where {} = %s").format(*names)


Rule = Nobodys | Everybodys | InPath | InBody | InRow

_ORDER = InRow(table="orders", owner="user_id", key="order_id")
_REVIEW = InRow(table="reviews", owner="user_id", key="review_id")
_POST = InRow(table="posts", owner="author_id", key="post_id")
_MESSAGE = InRow(table="messages", owner="author_id", key="message_id")
_TRIP = InRow(table="trips", owner="driver_id", key="trip_id")

RULES: Final[dict[str, Rule]] = {
    "POST /users": InBody(name="user_id"),
    "PUT /users/{user_id}/name": InPath(),
    "PUT /users/{user_id}/avatar": InPath(),
    "PUT /users/{user_id}/last-seen": InPath(),
    "DELETE /users/{user_id}": InPath(),
    "POST /users/{user_id}/addresses": InPath(),
    "PUT /users/{user_id}/addresses/{address_id}": InPath(),
    "DELETE /users/{user_id}/addresses/{address_id}": InPath(),
    "PUT /users/{user_id}/following/{followee_id}": InPath(),
    "DELETE /users/{user_id}/following/{followee_id}": InPath(),
    "DELETE /users/{user_id}/followers/{follower_id}": InPath(),
    "DELETE /users/{user_id}/followers": InPath(),
    "POST /categories": Nobodys(),
    "PUT /categories/{category_id}/name": Nobodys(),
    "POST /products": Nobodys(),
    "PUT /products/{product_id}/price": Nobodys(),
    "PUT /products/{product_id}/name": Nobodys(),
    "PUT /products/{product_id}/description": Nobodys(),
    "PUT /products/{product_id}/category": Nobodys(),
    "POST /orders": InBody(name="user_id"),
    "PUT /orders/{order_id}/status": Everybodys(),
    "POST /orders/{order_id}/cancel": _ORDER,
    "DELETE /orders/{order_id}": Everybodys(),
    "POST /reviews": InBody(name="user_id"),
    "PUT /reviews/{review_id}": _REVIEW,
    "DELETE /reviews/{review_id}": _REVIEW,
    "POST /drivers": InBody(name="driver_id"),
    "PUT /drivers/{driver_id}/name": InPath(name="driver_id"),
    "POST /trips": InBody(name="rider_id"),
    "POST /trips/{trip_id}/finish": _TRIP,
    "PUT /trips/{trip_id}/fare": Everybodys(),
    "POST /posts": InBody(name="author_id"),
    "PUT /posts/{post_id}/body": _POST,
    "DELETE /posts/{post_id}": _POST,
    "PUT /posts/{post_id}/likes/{user_id}": InPath(),
    "DELETE /posts/{post_id}/likes/{user_id}": InPath(),
    "POST /channels": Nobodys(),
    "POST /messages": InBody(name="author_id"),
    "PUT /messages/{message_id}/body": _MESSAGE,
    "DELETE /messages/{message_id}": _MESSAGE,
}


class Acting:
    """One request's caller before one route. Raises RefusedAccessError from each of its steps.

    route: ``PUT /users/{user_id}/name``. group: its tag. path: the parameters as the URL has them.
    """

    def __init__(self, caller: Caller, route: str, group: str, path: dict[str, Any]) -> None:
        self._caller = caller
        self._group = group
        self._path = path
        self._rule = RULES.get(route, Everybodys())
        try:
            caller.require(Kind.COMMAND, group)
        except AccessError as error:
            raise RefusedAccessError(error) from error
        self._free = isinstance(self._rule, Nobodys) or caller.may_any(Kind.COMMAND, group)
        if isinstance(self._rule, Everybodys):
            self._check(None, "this command is not for users")
        if isinstance(self._rule, InPath):
            self._check(path[self._rule.name], f"{self._rule.name} in the path is not the token's subject")

    @property
    def subject(self) -> str:
        """Of the token; empty without one."""
        return self._caller.subject or ""

    def look(self, command: Command | None) -> None:
        """Hold the command's own fields against the caller."""
        if isinstance(self._rule, InBody):
            self._check(getattr(command, self._rule.name, None), f"{self._rule.name} is not the token's subject")

    def around(self, work: Work) -> Work:
        """`work`, with the row's owner looked up first where the rule wants it."""
        rule = self._rule
        if self._free or not isinstance(rule, InRow):
            return work
        key = self._path[rule.key]

        async def checked(connection: Connection) -> Outcome:
            row = await (await connection.execute(rule.statement, (UUID(key),))).fetchone()
            if row is not None:  # and what is not there is the work's to say
                self._check(cast(UUID, row[0]), f"the {rule.owner} of this {rule.key} is not the token's subject")
            return await work(connection)

        return checked

    def _check(self, user: UUID | str | None, detail: str) -> None:
        if self._free or (user is not None and _same(self.subject, str(user))):
            return
        try:
            self._caller.require_any(Kind.COMMAND, self._group, detail)
        except AccessError as error:
            raise RefusedAccessError(error) from error


def _same(subject: str, user: str) -> bool:
    try:
        return UUID(subject) == UUID(user)
    except ValueError:
        return False
