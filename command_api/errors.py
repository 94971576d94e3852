"""What can go wrong with a command: values that say what, where and what to do; `problems.py` is how HTTP prints them.

CommandApiError
├── BadRequestError          400, 404 and 405 of paths, 408, 413, 415: the request itself is malformed; nothing was looked up
├── RefusedAccessError       400, 401, 403   who asks is not known, or may not do this; nothing was looked up but an owner
├── InvalidCommandError      422             a value that no state of the database could make acceptable
│   └── KeyReusedError       422             an Idempotency-Key that already stands for another request
├── RefusedError                             decided by what the database holds; a key remembers it like a success
│   ├── NotFoundError        404
│   ├── ConflictError        409
│   ├── VersionMismatchError 412
│   └── UnknownReferenceError 422
└── UnavailableError         503             nothing was written; try again
    └── OutcomeUnknownError  503             it may have been written
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from command_api.process.access.errors import AccessError


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One field that can't be accepted.

    field: path into the request, as ``body.items.0.quantity``.
    """

    field: str
    message: str
    remedy: str


class CommandApiError(Exception):
    """Any of the above. `kind` ends the problem's type URI; `hint` is what the caller can do."""

    status: int = 500
    kind: str = "internal"
    title: str = "Internal error"

    def __init__(self, detail: str, *, hint: str, fields: Sequence[FieldError] = ()) -> None:
        super().__init__(f"{detail}; {hint}")
        self.detail = detail
        self.hint = hint
        self.fields = tuple(fields)
        self.headers: Mapping[str, str] = {}


_REQUEST_KINDS = {
    404: ("no-such-path", "No such path"),
    405: ("method-not-allowed", "Method not allowed"),
    408: ("request-timeout", "Request timeout"),
    413: ("too-large", "Body too large"),
    415: ("unsupported-media-type", "Unsupported media type"),
}


class BadRequestError(CommandApiError):
    """The request can't be read as one."""

    status = 400

    def __init__(self, detail: str, *, hint: str, status: int = 400) -> None:
        super().__init__(detail, hint=hint)
        self.status = status
        self.kind, self.title = _REQUEST_KINDS.get(status, ("bad-request", "Malformed request"))


class RefusedAccessError(CommandApiError):
    """What `command_api.process.access` said, as this API says it."""

    def __init__(self, error: AccessError) -> None:
        super().__init__(error.detail, hint=error.hint)
        self.status, self.kind, self.title, self.headers = error.status, error.kind, error.title, error.headers


class InvalidCommandError(CommandApiError):
    """Values that can't be accepted, each named."""

    status = 422
    kind = "invalid"
    title = "Invalid values"


class KeyReusedError(InvalidCommandError):
    """The key was used for another request."""

    kind = "idempotency-key-reused"
    title = "Idempotency-Key already used for another request"


class RefusedError(CommandApiError):
    """The state of the database forbids the command; nothing was written."""

    kind = "refused"
    title = "Refused"


class NotFoundError(RefusedError):
    """What the command is about does not exist."""

    status = 404
    kind = "not-found"
    title = "Not found"

    def __init__(self, what: str, key: object) -> None:
        super().__init__(
            f"there is no {what} {key}", hint=f"check the {what}'s id; it may have been deleted, or not been made yet"
        )


class ConflictError(RefusedError):
    """The command contradicts what is there."""

    status = 409
    kind = "conflict"
    title = "Conflict with the current state"


class VersionMismatchError(RefusedError):
    """If-Match named another version."""

    status = 412
    kind = "version-mismatch"
    title = "The version is another one"


class UnknownReferenceError(RefusedError):
    """The command names something that does not exist."""

    status = 422
    kind = "unknown-reference"
    title = "Refers to something that does not exist"


class UnavailableError(CommandApiError):
    """The database can't be used now; nothing was written."""

    status = 503
    kind = "unavailable"
    title = "The database is not available"

    def __init__(self, detail: str, *, hint: str = "nothing was written; send the request again") -> None:
        super().__init__(detail, hint=hint)
        self.headers = {"Retry-After": "1"}


class OutcomeUnknownError(UnavailableError):
    """The connection ended between the commit's sending and its answer."""

    kind = "outcome-unknown"
    title = "The command may or may not have been carried out"

    def __init__(self, detail: str) -> None:
        super().__init__(
            detail,
            hint="look whether it happened before sending it again; with an Idempotency-Key it is safe to repeat",
        )
