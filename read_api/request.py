"""A URL becomes a query: path segments and parameters, typed by a read model's declaration. Pure.

    GET /read/{model}/{partition key…}?created_at.gte=…&limit=50&order=reversed&page=…&token=…

One path segment a partition column, percent-decoded (``%2F`` is a slash within a value); a time bucket has none, since
`read_api.buckets` finds it. Clustering columns are parameters of their own names: equality on a prefix of them, then a
range on the next one (``.gte .gt .lte .lt``), as CQL allows. Whatever does not fit exactly is a ProblemError that names
the field and the remedy; nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from command_api.process.consistency import ConsistencyToken, InvalidConsistencyTokenError, merged
from projections.cassandra_table import CassandraTable
from projections.time_buckets import TimeBucket
from projections.values import ValueType
from read_api.literals import LiteralError, read_literal
from read_api.problem import InvalidRequestError, InvalidTokenError, InvalidValueError, UnknownRouteError

OPERATORS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
RESERVED = ("limit", "order", "page", "token")
_RESERVED = frozenset(RESERVED)
FORWARD, REVERSED = "forward", "reversed"
_MAX_PARAMETERS = 64


class RouteConflictError(ValueError):
    """A read model whose clustering column has the name of one of the parameters that every route has."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One end of a range: a CQL operator and the value it compares with."""

    operator: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to read, as CQL values.

    partition: one value a partition column. equals: values of the first clustering columns.
    bounds: at most a lower and an upper end of a range on the clustering column after those.
    """

    model: str
    partition: tuple[Any, ...]
    equals: tuple[Any, ...] = ()
    bounds: tuple[Bound, ...] = ()
    reversed: bool = False

    @property
    def values(self) -> tuple[Any, ...]:
        """What the statement of this query's shape binds, in order."""
        return (*self.partition, *self.values_after)

    @property
    def values_after(self) -> tuple[Any, ...]:
        """Those after the partition key's."""
        return (*self.equals, *(bound.value for bound in self.bounds))


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """A query and how its reply is wanted. page: still sealed. token: what is to be covered."""

    query: Query
    limit: int
    page: str | None = None
    token: ConsistencyToken | None = None

    def with_token(self, token: ConsistencyToken) -> ReadRequest:
        """The same with the token of a header, beside that of the URL: both are to be covered."""
        return replace(self, token=token if self.token is None else merged((self.token, token)))


@dataclass(frozen=True, kw_only=True)
class Route:
    """A read model's route: its table, and the bounds of ``limit``. bucket: of a table in time buckets."""

    table: CassandraTable
    default_limit: int
    max_limit: int
    bucket: TimeBucket | None = None

    def __post_init__(self) -> None:
        for clustering in self.table.clustering:
            if clustering.column in RESERVED:
                raise RouteConflictError(
                    f"{self.table.name}: clustering column {clustering.column!r} has the name of a parameter that every"
                    " route has: give the column another .label()"
                )

    @cached_property
    def path(self) -> tuple[str, ...]:
        """The partition-key columns that a request names."""
        return tuple(name for name in self.table.partition_key if self.bucket is None or name != self.bucket.column)

    @property
    def template(self) -> str:
        """``/read/orders_by_status/{status}/{day}``."""
        return f"/read/{self.table.name}/" + "/".join(f"{{{name}}}" for name in self.path)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Every parameter of this route: name to the column it is typed by, '' for those that all routes have."""
        named = {c.column: c.column for c in self.table.clustering}
        ranges = {f"{column}.{operator}": column for column in named for operator in OPERATORS}
        common = [name for name in RESERVED if name != "order" or named]
        return named | ranges | dict.fromkeys(common, "")

    def parse(self, segments: list[bytes], query_string: bytes) -> ReadRequest:
        """The request of the path's segments after the model's name, and of the query string; raises ProblemError."""
        table, path = self.table, self.path
        if len(segments) != len(path):
            raise UnknownRouteError(
                f"{table.name} takes {len(path)} key part(s) in its path, not {len(segments)}",
                hint=f"GET {self.template}; write a slash within a value as %2F",
            )
        partition = tuple(
            _typed(name, table.columns[name], _decoded(name, segment))
            for name, segment in zip(path, segments, strict=True)
        )
        if len(partition) == 1 and partition[0] in ("", b""):
            raise InvalidValueError(
                f"{path[0]} is empty: Cassandra holds no such partition",
                hint="give the key", field=path[0],
            )  # fmt: skip
        if not query_string:
            return ReadRequest(query=Query(model=table.name, partition=partition), limit=self.default_limit)
        given = self._parameters(query_string)
        equals, bounds = self._restrictions(given)
        return ReadRequest(
            query=Query(
                model=table.name, partition=partition, equals=equals, bounds=bounds, reversed=_order(given.get("order"))
            ),
            limit=self._limit(given.get("limit")),
            page=given.get("page"),
            token=parse_token(given["token"]) if "token" in given else None,
        )

    def _parameters(self, query_string: bytes) -> dict[str, str]:
        known = self.parameters
        given: dict[str, str] = {}
        try:
            text = query_string.decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
        except ValueError as error:
            raise InvalidRequestError(
                f"the query string can't be read: {error}", hint="percent-encode the parameters as UTF-8"
            ) from error
        for name, value in pairs:
            if name not in known:
                raise InvalidRequestError(
                    f"{self.table.name} has no parameter {name[:80]!r}",
                    hint="use one of: " + ", ".join(known), field=name[:80],
                )  # fmt: skip
            if name in given:
                raise InvalidRequestError(f"{name} is given twice", hint=f"give {name} once", field=name)
            given[name] = value
        return given

    def _restrictions(self, given: Mapping[str, str]) -> tuple[tuple[Any, ...], tuple[Bound, ...]]:
        if given.keys() <= _RESERVED:
            return (), ()
        table, equals, bounds = self.table, [], []
        open_column: str | None = None  # the first clustering column without an equality: only it may have a range
        for clustering in table.clustering:
            name, kind = clustering.column, table.columns[clustering.column]
            ends = [operator for operator in OPERATORS if f"{name}.{operator}" in given]
            if open_column is not None and (name in given or ends):
                field = name if name in given else f"{name}.{ends[0]}"
                raise InvalidRequestError(
                    f"{field} can't be used without an equality on {open_column}, which comes before it in the key",
                    hint=f"give {open_column}=<value>, or leave {field} out", field=field,
                )  # fmt: skip
            if name in given and ends:
                raise InvalidRequestError(
                    f"{name} has both an equality and a range",
                    hint=f"give {name} or {name}.{ends[0]}, not both", field=f"{name}.{ends[0]}",
                )  # fmt: skip
            if name in given:
                equals.append(_typed(name, kind, given[name]))
                continue
            open_column = name
            for side in (("gte", "gt"), ("lte", "lt")):
                both = [operator for operator in side if operator in ends]
                if len(both) == 2:
                    raise InvalidRequestError(
                        f"{name} has two {'lower' if 'gt' in side else 'upper'} ends",
                        hint=f"give {name}.{both[0]} or {name}.{both[1]}, not both", field=f"{name}.{both[1]}",
                    )  # fmt: skip
                for operator in both:
                    field = f"{name}.{operator}"
                    bounds.append(Bound(operator=OPERATORS[operator], value=_typed(field, kind, given[field])))
        return tuple(equals), tuple(bounds)

    def _limit(self, text: str | None) -> int:
        if text is None:
            return self.default_limit
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= self.max_limit):
            raise InvalidValueError(
                f"limit is {text[:40]!r}: expected a whole number from 1 to {self.max_limit}",
                hint="lower the limit and follow next_page for the rest", field="limit",
            )  # fmt: skip
        return int(text)


def parse_token(text: str) -> ConsistencyToken:
    """The token of one or several consistency tokens; raises InvalidTokenError."""
    try:
        return ConsistencyToken.parse_list(text)
    except InvalidConsistencyTokenError as error:
        raise InvalidTokenError(
            f"the consistency token {error}",
            hint="send the token of a command's reply unchanged, as 16/B374D848", field="Consistency-Token",
        ) from error  # fmt: skip


def _order(text: str | None) -> bool:
    if text not in (None, FORWARD, REVERSED):
        raise InvalidValueError(
            f"order is {text[:40]!r}: expected {FORWARD} or {REVERSED}",
            hint=f"leave order out for the declared order, or give {REVERSED}", field="order",
        )  # fmt: skip
    return text == REVERSED


def _decoded(name: str, segment: bytes) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise InvalidValueError(
            f"{name} is not UTF-8", hint="percent-encode the value's UTF-8 bytes", field=name
        ) from error


def _typed(field: str, kind: ValueType, text: str) -> Any:
    try:
        return read_literal(kind, text)
    except LiteralError as error:
        raise InvalidValueError(
            f"{field} is {text[:80]!r}: {error}", hint="give the value in the form shown", field=field
        ) from error
