"""What clients and operators see without a server: headers, the OpenAPI document, the commands."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from command_api.process.consistency import ConsistencyToken
from command_api.process.settings import Settings
from projections import READ_MODELS
from projections.values import Kind, ValueType
from read_api import openapi
from read_api.__main__ import app
from read_api.declared import ReadModelsNotFoundError, load_read_models, routes_of
from read_api.preferences import Preferences, parse_preferences
from read_api.problem import InvalidRequestError, InvalidTokenError, NotCoveredError, ProblemError

ROUTES = routes_of(Settings(), READ_MODELS)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Preferences()),
        ([(b"consistency-token", b" 16/B374D848 ")], Preferences(token=ConsistencyToken.parse("16/B374D848"))),
        (
            [(b"consistency-token", b"0/1;orders@0/9, 0/3;users@0/4"), (b"consistency-token", b"0/2;orders@0/8")],
            Preferences(token=ConsistencyToken.parse("0/3;orders@0/9;users@0/4")),
        ),
        ([(b"prefer", b"wait=2")], Preferences(wait=2.0)),
        ([(b"prefer", b'respond-async, Wait="0.25"; foo=1')], Preferences(wait=0.25)),
        ([(b"prefer", b"wait=1, wait=5")], Preferences(wait=1.0)),
        ([(b"prefer", b"return=minimal")], Preferences()),
        ([(b"prefer", b"waitress=1, wait = 3")], Preferences(wait=3.0)),
    ],
)
def test_preferences(headers: list[tuple[bytes, bytes]], expected: Preferences) -> None:
    assert parse_preferences(headers) == expected


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([(b"consistency-token", b"now")], InvalidTokenError),
        ([(b"consistency-token", b"")], InvalidTokenError),
        ([(b"consistency-token", b"\xff")], InvalidTokenError),
        ([(b"consistency-token", b"0/1"), (b"consistency-token", b"0/2,")], InvalidTokenError),
        ([(b"prefer", b"wait=soon")], InvalidRequestError),
        ([(b"prefer", b"wait=-1")], InvalidRequestError),
    ],
)
def test_headers_that_are_refused(headers: list[tuple[bytes, bytes]], error: type[ProblemError]) -> None:
    with pytest.raises(error) as caught:
        parse_preferences(headers)
    assert caught.value.members["field"]


@pytest.mark.parametrize("command", ["routes", "openapi", "serve"])
def test_a_setting_that_is_no_json_is_named_without_a_traceback(command: str) -> None:
    done = CliRunner().invoke(app, [command], env={"LOCKSTEP_AUTH__HS256_SECRETS": "{now"})
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "auth" in done.stderr


def references(node: Any) -> list[str]:
    """Every $ref of a document."""
    if isinstance(node, dict):
        return [value for key, value in node.items() if key == "$ref"] + [
            r for v in node.values() for r in references(v)
        ]
    return [r for v in node for r in references(v)] if isinstance(node, list) else []


def test_the_document_describes_every_parameter_and_column() -> None:
    document = json.loads(json.dumps(openapi.document(ROUTES.values())))
    for route in ROUTES.values():
        operation = document["paths"][route.template]["get"]
        places = {(p["in"], p["name"]) for p in operation["parameters"]}
        assert {name for where, name in places if where == "path"} == set(route.path)
        assert {name for where, name in places if where == "query"} == set(route.parameters)
        assert all(parameter["schema"] for parameter in operation["parameters"])
        row = document["components"]["schemas"][route.table.name]
        assert set(row["properties"]) == set(row["required"]) == set(route.table.columns)
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_schema_that_may_be_null(kind: Kind) -> None:
    schema = openapi.value_schema(ValueType(kind=kind, bits=32 if kind is Kind.INTEGER else 0))
    assert schema
    # Any JSON value is allowed where no type is said: null is one of them.
    assert kind is Kind.JSON or "null" in json.dumps(openapi.nullable(schema))


def test_a_problem_says_what_and_what_to_do() -> None:
    body = json.loads(NotCoveredError("late", hint="wait", lag_seconds=1.5).body())
    assert body == {
        "type": "urn:lockstep:problem:token-not-covered",
        "title": "The read model has not reached the token yet",
        "status": 503,
        "detail": "late",
        "hint": "wait",
        "lag_seconds": 1.5,
    }


@pytest.mark.parametrize("reference", ["projections", "projections:", "nowhere:X", "projections:NOPE", "json:loads"])
def test_read_models_that_are_not_there(reference: str) -> None:
    with pytest.raises(ReadModelsNotFoundError, match="LOCKSTEP_READ_API__READ_MODELS"):
        load_read_models(reference)


@pytest.mark.parametrize("beside", ["message_buckets_by_channel", "posts_by_author", "followees_by_user"])
def test_a_read_model_is_refused_without_what_it_is_read_with(beside: str) -> None:
    with pytest.raises(ReadModelsNotFoundError, match=f"{beside}, which is not among the read models"):
        routes_of(Settings(), [model for model in READ_MODELS if model.name != beside])


def test_commands_have_help_with_an_example() -> None:
    runner = CliRunner()
    for command in ("serve", "routes", "openapi"):
        result = runner.invoke(app, [command, "--help"])
        assert result.exit_code == 0
        assert f"Example: read-api {command}" in result.output


def test_routes_and_openapi_print() -> None:
    runner = CliRunner()
    routes = runner.invoke(app, ["routes"])
    assert routes.exit_code == 0, routes.output
    assert "GET /read/orders_by_status/{status}/{day}" in routes.output
    document = runner.invoke(app, ["openapi"])
    assert {route.template for route in ROUTES.values()} <= set(json.loads(document.output)["paths"])
    wrong = runner.invoke(app, ["routes", "--read-models", "nowhere:X"])
    assert wrong.exit_code == 2
