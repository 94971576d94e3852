"""What every route needs: the headers of a call, the way to carry out its command, and the replies that it documents."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Request, Response

from command_api import idempotency, problems, replies
from command_api.acting import Acting
from command_api.commands.fields import Command
from command_api.coverage import Coverage
from command_api.entrance import CALLER
from command_api.errors import BadRequestError
from command_api.execute import Executor, Work
from command_api.idempotency import Key
from command_api.observe import Metrics
from command_api.preconditions import IfMatch, parse
from command_api.process.consistency import HEADER, PATTERN
from command_api.process.tracing import HEADER as TRACEPARENT
from command_api.routes.reading_back import reading_back
from command_api.traced import Traced


class Call:
    """One request's headers, and the way to carry out its command. expected: what If-Match asks for.

    Raises RefusedAccessError when the caller may not, here or in `run`.
    """

    def __init__(self, request: Request, key: str | None, if_match: str | None) -> None:
        self._request = request
        route = request.scope["route"]
        self._traced = Traced(
            request.app.state.tracing, request.headers.get(TRACEPARENT), f"{request.method} {route.path}"
        )
        self._acting = Acting(
            getattr(request.state, CALLER), f"{request.method} {route.path}", route.tags[0], request.path_params
        )
        self._key = idempotency.parse_key(key)
        self._asked = reading_back(request)
        self._if_match = if_match
        self.expected: IfMatch = parse(if_match)

    async def run(self, work: Work, command: Command | None = None) -> Response:
        """Carry out `work`, made of `command`, and reply."""
        executor: Executor = self._request.app.state.executor
        metrics: Metrics = self._request.app.state.metrics
        self._acting.look(command)
        with self._traced.around(self._acting.around(work)) as traced:
            reply = await executor.run(traced, self._keyed(command), self._asked.earlier)
        if reply.repeated:
            metrics.repeated.inc()
        stored, token = reply.stored, str(reply.token)
        # The stored body is an object with members; the token joins at its end, so a repeated reply has the same bytes.
        body = stored.body[:-1] + b',"consistency_token":"' + token.encode() + b'"}'
        headers = {**stored.headers, HEADER: token}
        if stored.status >= 400:
            return Response(body, stored.status, headers, problems.MEDIA_TYPE)
        coverage: Coverage | None = self._request.app.state.coverage
        if self._asked.wait_s is not None:
            reached = None  # nobody can tell without a read API
            if coverage is not None:
                bound = coverage.bound(self._asked.wait_s)
                reached = await coverage.reached(reply.token, bound, self._request.headers.get("Authorization"))
                headers["Preference-Applied"] = f"wait={bound:g}"
            body = body[:-1] + b',"covered":' + msgspec.json.encode(reached) + b"}"
        return Response(body, stored.status, headers, "application/json")

    def _keyed(self, command: Command | None) -> Key | None:
        if self._key is None:
            return None
        body = b"" if command is None else command.model_dump_json().encode()
        # With the subject: a reply is repeated to whom it was first given.
        parts = (self._request.method, self._request.url.path, self._if_match or "", self._acting.subject)
        return Key(text=self._key, fingerprint=idempotency.fingerprint(*(part.encode() for part in parts), body))


_KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Names this command, 1 to 255 printable ASCII characters: repeating the request with the same key "
        "returns the first reply and writes nothing.",
    ),
]
_IfMatchHeader = Annotated[
    str | None,
    Header(alias="If-Match", description="The ETag of the version that the command may act on.", examples=['"3"']),
]


_TokenHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="The token of what the caller did or read before; the reply's token covers it too.",
        json_schema_extra={"pattern": PATTERN},
    ),
]
_PreferHeader = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="wait=<seconds>: be answered when every read model that the write concerns shows it, or after that "
        "time. The reply says which in its member `covered`.",
        examples=["wait=2"],
        json_schema_extra={"pattern": r"^wait=\d{1,3}$"},
    ),
]


def _once(request: Request, name: str) -> None:
    if len(request.headers.getlist(name)) > 1:
        raise BadRequestError(f"there are several {name} headers", hint="send one")


async def _versioned(
    request: Request,
    key: _KeyHeader = None,
    if_match: _IfMatchHeader = None,
    _token: _TokenHeader = None,
    _prefer: _PreferHeader = None,
) -> Call:
    _once(request, "Idempotency-Key")
    # Several lines of a list header are one list (RFC 9110, section 5.3).
    lines = request.headers.getlist("If-Match")
    return Call(request, key, ", ".join(lines) if lines else None)


async def _unversioned(
    request: Request, key: _KeyHeader = None, _token: _TokenHeader = None, _prefer: _PreferHeader = None
) -> Call:
    _once(request, "Idempotency-Key")
    if "If-Match" in request.headers:
        raise BadRequestError("what this command is about has no version", hint="leave If-Match out")
    return Call(request, key, None)


Versioned = Annotated[Call, Depends(_versioned)]
Unversioned = Annotated[Call, Depends(_unversioned)]


def made(*refusals: int, versioned: bool = True) -> dict[str, Any]:
    """A route's status and documented replies when it makes something; `refusals` are the statuses beside the usual."""
    return {
        "status_code": 201,
        "responses": replies.documented(201, versioned=versioned)
        | problems.documented(400, 401, 403, 408, *refusals, 413, 415, 422, 500, 503),
    }


def done(*refusals: int, versioned: bool = True) -> dict[str, Any]:
    """The documented replies of a route that changes or removes something, which may be missing."""
    return {
        "responses": replies.documented(200, versioned=versioned)
        | problems.documented(400, 401, 403, 404, 408, *refusals, 413, 415, 422, 500, 503)
    }
