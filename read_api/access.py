"""Who reads what: asked once a request, before any source is, so that rows pushed, merged, streamed and of Postgres are alike.

    the gate: a token that counts ─▶ the model's scope ─▶ (the URL is read) ─▶ the partition's owner ─▶ any source

A partition whose read model declares an `owner` is its subject's, unless the scopes cover everybody's
(``read:<model>:any``). The subject is compared as a value of the column's type: a uuid in capitals is the same one.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from typing import Any

from command_api.process.access.caller import Caller, Kind
from command_api.process.access.errors import AccessError
from command_api.process.access.gate import Gate
from command_api.process.access.keys import keys_of
from command_api.process.settings import Auth
from projections.read_model import ReadModel
from read_api.literals import LiteralError, read_literal
from read_api.problem import AccessRefusedError, BodyRefusedError
from read_api.request import Query, Route


class Access:
    """The rules of a service's read models. Raises KeysError when the settings' keys can't be used."""

    def __init__(self, auth: Auth, models: Sequence[ReadModel]) -> None:
        self.gate = Gate(keys_of(auth))
        self._owners = {model.name: model.owner for model in models}

    def admit(self, headers: Iterable[tuple[bytes, bytes]], query_string: bytes) -> Caller:
        """Who asks; raises AccessRefusedError, and BodyRefusedError for a request that brings a body."""
        headers = list(headers)
        for name, value in headers:
            if (name == b"content-length" and value.strip(b"0 ")) or name == b"transfer-encoding":
                raise BodyRefusedError(
                    "a read has no body", hint="put everything into the URL and the headers", headers={"Connection": "close"}
                )  # fmt: skip
        try:
            return self.gate.admit(headers, query_string)
        except AccessError as error:
            raise AccessRefusedError(error) from error

    def check_model(self, caller: Caller, name: str) -> None:
        """Raise AccessRefusedError unless the caller may read at least partitions of its own."""
        try:
            caller.require(Kind.READ, name)
        except AccessError as error:
            raise AccessRefusedError(error) from error

    def check_partition(self, caller: Caller, route: Route, query: Query) -> None:
        """Raise AccessRefusedError unless the caller may read this partition."""
        name = route.table.name
        owner = self._owners[name]
        if owner is None or caller.may_any(Kind.READ, name):
            return
        if not _same(caller.subject or "", query.partition[route.path.index(owner)], owner, route):
            try:
                caller.require_any(Kind.READ, name, f"{owner} is not the token's subject")
            except AccessError as error:
                raise AccessRefusedError(error) from error

    def check_everybodys(self, caller: Caller, name: str) -> None:
        """Raise AccessRefusedError unless the caller may read every partition."""
        if self._owners[name] is None:
            return
        try:
            caller.require_any(Kind.READ, name, "the partitions are their owners'")
        except AccessError as error:
            raise AccessRefusedError(error) from error

    def check_metrics(self, caller: Caller) -> None:
        """Raise AccessRefusedError unless the caller may read /metrics."""
        try:
            caller.require_metrics()
        except AccessError as error:
            raise AccessRefusedError(error) from error


def _same(subject: str, value: Any, column: str, route: Route) -> bool:
    try:
        own = read_literal(route.table.columns[column], subject)
    except LiteralError:
        return False
    return hmac.compare_digest(repr(own).encode(), repr(value).encode())
