"""The OpenAPI document of the routes: typed parameters, a typed row a read model, every problem. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from command_api.process.access.caller import METRICS
from command_api.process.consistency import PATTERN
from projections.values import Kind, ValueType
from read_api.request import FORWARD, REVERSED, Route

Schema = dict[str, Any]

TITLE = "Read API"
VERSION = "1"
_LSN = {"type": "string", "pattern": "^[0-9A-F]{1,8}/[0-9A-F]{1,8}$", "examples": ["16/B374D848"]}
_TOKEN = {
    "type": "string",
    "pattern": PATTERN,
    "examples": ["16/B374D848", "16/B374D800;orders@16/B374D848;order_items@16/B374D848"],
}
_LAG = (
    "This server's clock minus the commit time of the last covered transaction or heartbeat: an upper bound on how old"
    " the rows are, 0 for those of Postgres. null when the read model has covered nothing yet."
)
_COVERED = "The rows show this log position or a later one: it was read before them."
_AT_LEAST = (
    "What a command's or a read's reply carries: a log position, with those of tables behind it. The reply shows what it"
    " says of this read model's tables, or later: the read waits a bounded time for the read model to cover that, is then"
    " answered from Postgres, and is a 503 when that can't be."
)
_SOURCE = {
    "enum": ["read-model", "postgres"],
    "description": "Where the rows came from: the read model's table, or Postgres by the read model's own select(), which"
    " answers a read with a token that the table does not cover in time, and what of a feed has no copies.",
}
_CHANGES = (
    " With /changes behind the path, and the same parameters but page, the reply is a stream of server-sent events: a"
    " snapshot of these rows, then their changes; Last-Event-ID resumes it."
)
_AFTERWARDS = "Sent with a later read of any read model, it shows nothing older than this reply."
_PROBLEMS = {
    "400": "A parameter that is unknown, given twice or contradicts another; a token or page that is garbled",
    "401": "No bearer token, or one that does not count: WWW-Authenticate says which",
    "403": "The token's scopes do not cover this read model, or the partition is not its subject's",
    "404": "No such read model, or another number of key parts",
    "413": "The request has a body",
    "422": "A value of the wrong type or out of range",
    "503": "The token was not covered within the bound and Postgres does not answer either, or the store does not answer"
    " and there is no token; see Retry-After",
}


def document(routes: Iterable[Route]) -> Schema:
    """The whole document, OpenAPI 3.1. The names beside a bearer token are the scopes that it needs."""
    routes = list(routes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "description": "One route a read model, generated from its declaration. Every reply says which log position"
            " it covers; a request with a consistency token is never answered with an older state.",
        },
        "paths": {route.template: {"get": _operation(route)} for route in routes} | _operations(),
        "components": {
            "schemas": {"Problem": _problem()} | {_row_name(route): _row(route) for route in routes},
            "responses": {status: _problem_response(text) for status, text in _PROBLEMS.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def value_schema(kind: ValueType) -> Schema:
    """The schema of a value in JSON, and as text in a URL."""
    match kind.kind:
        case Kind.BOOLEAN:
            return {"type": "boolean"}
        case Kind.INTEGER:
            limit = 1 << ((kind.bits or 64) - 1)
            return {"type": "integer", "minimum": -limit, "maximum": limit - 1} | (
                {"format": f"int{kind.bits}"} if kind.bits in (32, 64) else {}
            )
        case Kind.INTERVAL:
            return {"type": "integer", "format": "int64", "description": "microseconds"}
        case Kind.FLOAT:
            return {"oneOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
        case Kind.JSON:
            return {"description": "any JSON value"}
        case Kind.ARRAY:
            return {"type": "array"}
        case Kind.DOCUMENT:
            properties = {name: nullable(value_schema(field)) for name, field in kind.fields}
            return {"type": "array", "items": _object(properties)}
    return {"type": "string"} | _STRINGS.get(kind.kind, {})


_STRINGS: dict[Kind, Schema] = {
    Kind.NUMERIC: {"format": "decimal", "pattern": r"^-?\d+(\.\d+)?$", "examples": ["12.50"]},
    Kind.UUID: {"format": "uuid"},
    Kind.BYTES: {"contentEncoding": "base64"},
    Kind.DATE: {"description": "YYYY-MM-DD, infinity or -infinity", "examples": ["2024-03-01"]},
    Kind.TIME: {"description": "HH:MM:SS.ffffff", "examples": ["12:30:00.000001"]},
    Kind.TIMESTAMP: {
        "description": "ISO 8601 without offset, infinity or -infinity",
        "examples": ["2024-03-01T12:30:00.000001"],
    },
    Kind.TIMESTAMPTZ: {
        "description": "ISO 8601 with offset (replies: Z), infinity or -infinity",
        "examples": ["2024-03-01T12:30:00.000001Z"],
    },
}


def _operation(route: Route) -> Schema:
    table = route.table
    order = ", ".join(f"{c.column} {'descending' if c.descending else 'ascending'}" for c in table.clustering)
    return {
        "operationId": f"read_{table.name}",
        "summary": f"Rows of {table.name} by {', '.join(route.path)}",
        "description": (f"In the order of {order}." if order else "At most one row.") + _CHANGES,
        "tags": ["read models"],
        "security": [{"bearer": [f"read:{table.name}"]}],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters()],
        "responses": {"200": _reply(route), "304": {"description": "The rows are those of If-None-Match's ETag"}}
        | {status: {"$ref": f"#/components/responses/{status}"} for status in _PROBLEMS},
    }


def _path_parameters(route: Route) -> list[Schema]:
    columns = route.table.columns
    return [
        {"name": name, "in": "path", "required": True, "schema": value_schema(columns[name])} for name in route.path
    ]


def _query_parameters(route: Route) -> list[Schema]:
    described: dict[str, tuple[Schema, str]] = {
        "limit": (
            {"type": "integer", "minimum": 1, "maximum": route.max_limit, "default": route.default_limit},
            "The most rows of one page; the last page may be empty."
            + (" A page may have fewer rows although there are more: follow next_page." if route.bucket else ""),
        ),
        "order": (
            {"enum": [FORWARD, REVERSED], "default": FORWARD},
            "The declared order of the rows, or its reverse.",
        ),
        "page": ({"type": "string"}, "next_page of the reply before, unchanged, with the same path and parameters."),
        "token": (_TOKEN, _AT_LEAST + " As the header Consistency-Token; both are honoured."),
    }
    parameters = []
    for name, column in route.parameters.items():
        if column:
            schema = value_schema(route.table.columns[column])
            text = "Rows with this value." if name == column else f"An end of a range of {column}."
            before = [c.column for c in route.table.clustering]
            before = before[: before.index(column)]
            text += f" Needs an equality on {' and '.join(before)}." if before else ""
        else:
            schema, text = described[name]
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema, "description": text})
    return parameters


def _header_parameters() -> list[Schema]:
    wait = {"type": "string", "examples": ["wait=0.5"]}
    return [
        {"name": "Consistency-Token", "in": "header", "required": False, "schema": _TOKEN, "description": _AT_LEAST},
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": '^W/"[0-9a-f]{24}"$'},
            "description": "The ETag of a reply that the client holds: 304 when its rows are still these.",
        },
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "schema": wait,
            "description": "wait=<seconds> lowers the bound on the wait for the token.",
        },
    ]


def _reply(route: Route) -> Schema:
    body = {
        "type": "object",
        "required": ["rows", "source", "covered_lsn", "lag_seconds", "stale", "next_page"],
        "properties": {
            "rows": {"type": "array", "items": {"$ref": f"#/components/schemas/{_row_name(route)}"}},
            "source": _SOURCE,
            "covered_lsn": _LSN | {"description": _COVERED},
            "lag_seconds": {"type": ["number", "null"], "description": _LAG},
            "stale": {"type": "boolean", "description": "Older than the read model's declaration allows."},
            "next_page": {"type": ["string", "null"], "description": "Give it as `page` for the rows after these."},
            "dead_letters": {
                "type": "array",
                "items": {"type": "object"},
                "description": "Rows that the read model's store refuses, with key, reason and lsn; absent when there are none.",
            },
        },
    }
    return {
        "description": "Rows, and the log position that they show",
        "headers": {
            "Source": {"schema": _SOURCE, "description": "As in the body."},
            "Covered-Lsn": {"schema": _LSN, "description": _COVERED},
            "Consistency-Token": {"schema": _TOKEN, "description": _AFTERWARDS},
            "ETag": {"schema": {"type": "string"}, "description": "Of the rows, and of whether there are more."},
            "Lag-Seconds": {"schema": {"type": "number"}, "description": _LAG},
        },
        "content": {"application/json": {"schema": body}},
    }


def _row_name(route: Route) -> str:
    return route.table.name


def _row(route: Route) -> Schema:
    columns = route.table.columns
    properties = {
        name: value_schema(kind) if name in route.table.key else nullable(value_schema(kind))
        for name, kind in columns.items()
    }
    return _object(properties)


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def nullable(schema: Schema) -> Schema:
    """The schema of the same values and null."""
    if "type" in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"oneOf": [*schema["oneOf"], {"type": "null"}]} if "oneOf" in schema else schema


def _problem() -> Schema:
    texts = {
        "type": "a urn that names the kind of problem",
        "title": "the kind in words",
        "detail": "what happened",
        "hint": "what to do",
        "field": "the parameter or header that is wrong, when there is one",
    }
    properties: Schema = {name: {"type": "string", "description": text} for name, text in texts.items()}
    properties["status"] = {"type": "integer"}
    return {"type": "object", "required": ["type", "title", "status", "detail", "hint"], "properties": properties}


def _problem_response(text: str) -> Schema:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}


def _operations() -> Schema:
    texts: dict[str, tuple[str, list[str] | None]] = {
        "/read": ("The routes of all read models", []),
        "/freshness": ("How old each read model may be and is, and which position it covers", []),
        "/covered": ("Whether all that a token concerns is covered, waiting for it", []),
        "/healthz": ("The process runs", None),
        "/readyz": ("The store answers and the positions can be read", None),
        "/metrics": ("Prometheus metrics", [METRICS]),
    }
    found: Schema = {path: {"get": _plain(text, scopes, path)} for path, (text, scopes) in texts.items()}
    token, _, prefer = _header_parameters()
    longest = "wait=<seconds>, up to 60, is the longest wait; without it that is a read's."
    found["/covered"]["get"]["parameters"] = [token | {"required": True}, prefer | {"description": longest}]
    return found


def _plain(text: str, scopes: list[str] | None, path: str) -> Schema:
    """An operation beside the reads; scopes: None needs no token."""
    refused = [] if scopes is None else ["400", "401", "413", *(["403"] if scopes else [])]
    kind = "text/plain" if path == "/metrics" else "application/json"
    responses: Schema = {"200": {"description": text, "content": {kind: {}}}}
    responses |= {status: {"$ref": f"#/components/responses/{status}"} for status in refused}
    if path in ("/freshness", "/covered"):
        responses["503"] = {"$ref": "#/components/responses/503"}
    if path == "/readyz":
        responses["503"] = _problem_response("The process can't do its work now: the detail says why")
    return {
        "summary": text,
        "tags": ["operations"],
        "security": [] if scopes is None else [{"bearer": scopes}],
        "responses": responses,
    }
