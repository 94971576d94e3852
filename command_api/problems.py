"""Errors as HTTP says them: problem+json (RFC 9457), for every reply that is no success.

A problem names what happened (`detail`) and what to do (`hint`); `errors` lists the fields at fault. It never repeats
what the caller sent, nor anything of the server's inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from command_api.errors import BadRequestError, CommandApiError, FieldError, InvalidCommandError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:lockstep:problem:"


class InvalidField(BaseModel):
    """One field at fault."""

    field: str = Field(examples=["body.items.0.quantity"])
    message: str
    remedy: str


class Problem(BaseModel):
    """RFC 9457's members, and what to do."""

    type: str = Field(examples=[f"{TYPE_PREFIX}not-found"])
    title: str
    status: int
    detail: str
    hint: str
    errors: list[InvalidField] | None = None
    consistency_token: str | None = Field(
        default=None, description="On refusals (404, 409, 412): a position at or after the state that was judged."
    )


def body_of(error: CommandApiError) -> bytes:
    """The problem's JSON."""
    problem: dict[str, Any] = {
        "type": TYPE_PREFIX + error.kind,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "hint": error.hint,
    }
    if error.fields:
        problem["errors"] = [{"field": f.field, "message": f.message, "remedy": f.remedy} for f in error.fields]
    return msgspec.json.encode(problem)


def response_of(error: CommandApiError, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as a response."""
    return Response(
        body_of(error), status_code=error.status, headers={**error.headers, **(headers or {})}, media_type=MEDIA_TYPE
    )


def internal() -> CommandApiError:
    """A fault of this program: it is in the log, the caller learns no more."""
    return CommandApiError(
        "the server failed to handle the request", hint="try again later; if it persists, tell the operator the time"
    )


_REMEDIES = {
    "missing": "add the field",
    "extra_forbidden": "remove the field: it is not known here",
    "uuid_parsing": "send a UUID in its 36-character form",
    "uuid_type": "send a UUID in its 36-character form",
    "string_too_long": "shorten it to {max_length} characters",
    "string_too_short": "give at least {min_length} character",
    "string_type": "send a JSON string",
    "string_unicode": "remove unpaired surrogates (\\ud800 to \\udfff)",
    "int_type": "send a whole JSON number",
    "greater_than_equal": "send at least {ge}",
    "less_than_equal": "send at most {le}",
    "decimal_max_places": "round to {decimal_places} decimal places",
    "decimal_max_digits": "send at most {max_digits} digits",
    "decimal_whole_digits": "send at most {whole_digits} digits before the point",
    "decimal_parsing": 'send a decimal number, best as a string: "12.50"',
    "decimal_type": 'send a decimal number, best as a string: "12.50"',
    "finite_number": "send a finite number",
    "too_long": "send at most {max_length}",
    "too_short": "send at least {min_length}",
    "literal_error": "send one of {expected}",
    "string_pattern_mismatch": "send a text that matches {pattern}",
    "model_attributes_type": "send a JSON object with Content-Type: application/json",
    "list_type": "send a JSON array",
}


def fields_of(errors: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Pydantic's errors with a remedy each; what was sent is not among them."""
    fields = []
    for error in errors:
        context = error.get("ctx") or {}
        remedy = str(context.get("remedy") or _REMEDIES.get(error["type"], "see /openapi.json for what is accepted"))
        try:
            remedy = remedy.format_map(context)
        except KeyError:
            remedy = "see /openapi.json for what is accepted"
        fields.append(
            FieldError(field=".".join(str(part) for part in error["loc"]), message=error["msg"], remedy=remedy)
        )
    return fields


async def _command_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, CommandApiError)
    return response_of(error)


async def _validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if any(one["type"] == "json_invalid" for one in errors):
        return response_of(BadRequestError("the body is not JSON", hint="send a JSON object in UTF-8"))
    return response_of(
        InvalidCommandError(
            f"{len(errors)} value{'s' if len(errors) > 1 else ''} can't be accepted; nothing was written",
            hint="mend the fields listed in errors",
            fields=fields_of(errors),
        )
    )


_HINTS = {
    400: "send a JSON object in UTF-8",
    404: "the paths are listed in /openapi.json",
    405: "the Allow header lists what this path accepts",
}


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = BadRequestError(
        {404: "there is no such path", 405: "this path does not accept this method"}.get(
            error.status_code, "the request can't be read"
        ),
        hint=_HINTS.get(error.status_code, "see /openapi.json"),
        status=error.status_code,
    )
    return response_of(problem, error.headers)


def install(app: FastAPI) -> None:
    """Have `app` answer every error with a problem."""
    app.add_exception_handler(CommandApiError, _command_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}


_DESCRIPTIONS = {
    400: "The request or a header is malformed.",
    401: "No bearer token, or one that does not count: WWW-Authenticate says which.",
    403: "The token's scopes do not cover the command, or it is somebody else's.",
    404: "What the command is about does not exist.",
    408: "The body did not come in time.",
    409: "The current state forbids the command.",
    412: "If-Match names another version.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A value can't be accepted, or the Idempotency-Key stands for another request; nothing was written.",
    500: "The server failed.",
    503: "The database is away; see Retry-After.",
}
