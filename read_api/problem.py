"""Everything that a reply other than rows can say: one exception a kind, each an RFC 9457 ``application/problem+json``.

ProblemError
├── InvalidRequestError      400  a parameter that does not exist, stands twice, or contradicts another
│   ├── InvalidTokenError    400  a consistency token that is no log position
│   └── InvalidPageError     400  a page of another query, or of nobody
├── AccessRefusedError       400, 401, 403  a token in the URL, none that counts, one that does not allow this
├── BodyRefusedError         413  a body: a read has none
├── InvalidValueError        422  a value of the wrong type or outside its range
├── UnknownRouteError        404  no such read model, or no route with so many key parts
├── MethodNotAllowedError    405
├── ReadTimeoutError         503  the request as a whole took longer than http.read_timeout_ms
├── TooManyStreamsError      503  as many streams as this server may hold are open
├── NotCoveredError          503  the read model did not reach the token within the bound
├── StoreUnavailableError    503  Cassandra is away, slow or short of replicas
├── NotStoredError           503  a feed, or a part of it, of which there are no copies, and Postgres was not asked
│   ├── NotFilledError       503  a column was added to the read model and is being filled, and Postgres was not asked
│   └── OtherDeclarationError 503  what is read now holds another declaration than this server's, and Postgres was not asked
│   └── LacksRowsError       503  rows that Cassandra refuses belong into this reply, and Postgres was not asked
├── StoreNotSetUpError       503  Cassandra answers, but the tables are not there or are of another declaration
└── InternalFaultError       500  a fault of this server; the log has it, the reply does not

Each says what happened (`detail`) and what to do (`hint`), and names the field when there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from command_api.lsn import Lsn
from command_api.process.access.errors import AccessError

CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """A reply's problem. `members` are added to the body, `headers` to the reply."""

    status: int = 500
    slug: str = "internal"
    title: str = "Internal error"

    def __init__(self, detail: str, *, hint: str, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.headers = headers or {}
        self.members = members

    def saying(self, **members: Any) -> ProblemError:
        """The same problem with more members; one problem may be several requests' answer."""
        return type(self)(self.detail, hint=self.hint, headers=self.headers, **self.members | members)

    def body(self) -> bytes:
        """The JSON document."""
        return msgspec.json.encode(
            {
                "type": f"urn:lockstep:problem:{self.slug}",
                "title": self.title,
                "status": self.status,
                "detail": self.detail,
                "hint": self.hint,
                **self.members,
            }
        )


class InvalidRequestError(ProblemError):
    """See the module."""

    status, slug, title = 400, "invalid-request", "The request can't be understood"


class InvalidTokenError(InvalidRequestError):
    """See the module."""

    slug, title = "invalid-token", "The consistency token is no log position"


class InvalidPageError(InvalidRequestError):
    """See the module."""

    slug, title = "invalid-page", "The page does not belong to this query"


class InvalidValueError(ProblemError):
    """See the module."""

    status, slug, title = 422, "invalid-value", "A value has the wrong type or is out of range"


class UnknownRouteError(ProblemError):
    """See the module."""

    status, slug, title = 404, "unknown-route", "There is no such route"


class MethodNotAllowedError(ProblemError):
    """See the module."""

    status, slug, title = 405, "method-not-allowed", "The method is not allowed"


class AccessRefusedError(ProblemError):
    """See the module."""

    def __init__(self, error: AccessError) -> None:
        super().__init__(error.detail, hint=error.hint, headers=error.headers)
        self.status, self.slug, self.title = error.status, error.kind, error.title


class BodyRefusedError(ProblemError):
    """See the module."""

    status, slug, title = 413, "too-large", "The request has a body"


class ReadTimeoutError(ProblemError):
    """See the module."""

    status, slug, title = 503, "read-timeout", "The read took too long"


class TooManyStreamsError(ProblemError):
    """See the module."""

    status, slug, title = 503, "too-many-streams", "The server holds as many streams as it may"


class NotCoveredError(ProblemError):
    """See the module."""

    status, slug, title = 503, "token-not-covered", "The read model has not reached the token yet"


class StoreUnavailableError(ProblemError):
    """See the module."""

    status, slug, title = 503, "store-unavailable", "The store of the read models does not answer"


class NotStoredError(ProblemError):
    """See the module. reader: none of the reader's copies count until they are written anew. covered: the position read before."""

    status, slug, title = 503, "not-stored", "The read model does not hold these rows"

    def __init__(
        self,
        detail: str,
        *,
        hint: str = "repeat the request after Retry-After seconds",
        headers: dict[str, str] | None = None,
        reader: bool = False,
        **members: Any,
    ) -> None:
        super().__init__(detail, hint=hint, headers=headers or {"Retry-After": "1"}, **members)
        self.reader = reader
        self.covered = Lsn(0)


class NotFilledError(NotStoredError):
    """See the module."""

    status, slug, title = (
        503,
        "not-filled",
        "A column was added to the read model, and not all rows have its values yet",
    )


class OtherDeclarationError(NotStoredError):
    """See the module."""

    status, slug, title = 503, "other-declaration", "The read model holds another declaration than this server's"


class LacksRowsError(NotStoredError):
    """See the module. Its member `dead_letters` names the rows."""

    status, slug, title = 503, "lacks-rows", "The read model lacks rows that its store refuses"


class StoreNotSetUpError(ProblemError):
    """See the module."""

    status, slug, title = 503, "store-not-set-up", "The tables of the read models are not set up"


class InternalFaultError(ProblemError):
    """See the module."""


def not_allowed(method: str, allowed: Sequence[str]) -> MethodNotAllowedError:
    """The refusal of a method."""
    names = ", ".join(allowed)
    return MethodNotAllowedError(f"{method[:20]} is not allowed here", hint=f"use {names}", headers={"Allow": names})


def read_timeout(seconds: float) -> ReadTimeoutError:
    """What a client learns of a read that took longer than it may."""
    return ReadTimeoutError(
        f"the read was not answered within {seconds:g} s",
        hint="repeat the request after Retry-After seconds",
        headers={"Retry-After": "1"},
    )


def internal_fault() -> InternalFaultError:
    """What a client learns of a fault of this server."""
    return InternalFaultError(
        "the server failed to answer; its log says why", hint="report the time of the request to whoever runs it"
    )
