"""The README says nothing that the tree does not do: its examples are executed, its names and links looked up."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import (
    Boolean,
    Date,
    DateTime,
    Integer,
    Numeric,
    Select,
    Text,
    and_,
    case,
    cast,
    extract,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import NullType
from typer.testing import CliRunner

from command_api.observe import Metrics as CommandMetrics
from command_api.process.settings import Settings
from command_api.relay.metrics import RelayCollector, RelayState
from command_api.tables import order_items, orders, users
from projections import READ_MODELS
from projections.orders import ORDERS_BY_USER
from projections.read_model import ReadModel
from projector.compile.functions import FIELDS, TRUNCATIONS
from projector.compile.program import compile_models
from projector.metrics import WorkerMetrics
from projector.refresh.metrics import RefreshMetrics
from read_api.metrics import Metrics as ReadMetrics

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENTRY_POINTS = {name: target.partition(":")[0] for name, target in PROJECT["project"]["scripts"].items()}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no section {title!r}"
    return found[1]


def code(text: str) -> list[str]:
    """What stands between backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def cells(title: str) -> list[list[str]]:
    """The rows of the section's tables, heads left out."""
    rows = [line.strip("|").split("|") for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not set("".join(row)) <= set("-: ")][1:]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def sql(statement: Select[Any]) -> str:
    return squeezed(str(statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})))


# --- examples


def test_declaration_compiles_and_gives_the_sql_shown() -> None:
    namespace: dict[str, Any] = {}
    (block,) = blocks("python")
    exec(block, namespace)
    declared = next(value for value in namespace.values() if isinstance(value, ReadModel))
    compile_models([declared])
    (shown,) = blocks("sql")
    assert sql(declared.select) == squeezed(shown)
    assert sql(ORDERS_BY_USER.select) == squeezed(shown), "the README's declaration is no longer the application's"
    assert (declared.name, declared.key) == (ORDERS_BY_USER.name, ORDERS_BY_USER.key)


def test_the_figures_are_of_every_read_model() -> None:
    measured = [re.match(r"`(\w+)`", row[0]) for row in cells("A read model")]
    assert [name and name[1] for name in measured] == [model.name for model in READ_MODELS]


NAMES: dict[str, Any] = {
    "orders": orders, "users": users, "items": order_items, "func": func, "case": case, "cast": cast, "and_": and_,
    "or_": or_, "not_": not_, "extract": extract, "Date": Date, "DateTime": DateTime, "Integer": Integer,
    "Numeric": Numeric, "Text": Text, "datetime": datetime, "UTC": UTC,
}  # fmt: skip
CONSTRUCTS = [example for _, examples in cells("What can be maintained") for example in code(examples)]


def over_three_tables(*more: Any) -> Select[Any]:
    return (
        select(orders.c.order_id, order_items.c.line_no, *more)
        .join_from(orders, users, users.c.user_id == orders.c.user_id)
        .join(order_items, order_items.c.order_id == orders.c.order_id)
    )


@pytest.mark.parametrize("example", CONSTRUCTS)
def test_construct_is_maintained(example: str) -> None:
    expression = eval(example, NAMES)
    # BETWEEN has no type of its own in SQLAlchemy: it is a condition only.
    condition = isinstance(expression.type, Boolean | NullType)
    statements = [over_three_tables().where(expression if condition else expression.is_not(None))]
    if not isinstance(expression.type, NullType):
        statements.append(over_three_tables(expression.label("example")))
    compile_models(
        [
            ReadModel(name=f"m{n}", select=each, partition_key=("order_id",), clustering_key=("line_no",))
            for n, each in enumerate(statements)
        ]
    )


def named_in_scalar() -> set[str]:
    """The names that `Scalars._function` matches: the functions that can be maintained."""
    tree = ast.parse((ROOT / "projector/compile/scalar.py").read_text())
    method = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "_function")
    names: set[str] = set()
    for match_case in (n for n in ast.walk(method) if isinstance(n, ast.match_case)):
        assert isinstance(match_case.pattern, ast.MatchSequence)
        first = match_case.pattern.patterns[0]
        names |= {n.value for n in ast.walk(first) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return names


def test_every_function_that_can_be_maintained_is_listed() -> None:
    names = named_in_scalar()
    assert {"coalesce", "date_trunc", "lower"} <= names, "scalar.py is no longer read rightly here"
    listed = " ".join(CONSTRUCTS)
    assert not {name for name in names if f"func.{name}(" not in listed}


def test_every_field_of_extract_and_date_trunc_is_listed() -> None:
    lists = {row[0].partition(":")[0].strip("`"): row[0] for row in cells("What can be maintained")}
    for function, fields in (("extract", FIELDS), ("date_trunc", TRUNCATIONS)):
        assert set(re.findall(r"\w+", lists[function].partition(":")[2])) == set(fields)


# --- commands


def command_lines() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    lines += [text for text in code(TEXT) if text.split()[0] in (*ENTRY_POINTS, "make") and "→" not in text]
    return sorted({line for line in lines if line})


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {line.split()[1] for line in command_lines() if line.startswith("make ")}
    assert {"demo", "test"} <= named
    assert not {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)}


COMMANDS = sorted({tuple(line.split()[:2]) for line in command_lines() if not line.startswith("make")})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_explains_itself(command: tuple[str, ...]) -> None:
    name, *rest = command
    app = import_module(ENTRY_POINTS[name]).app
    shown = CliRunner().invoke(app, [*rest, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "Example" in shown.output


def test_options_of_commands_exist() -> None:
    for line in command_lines():
        name, *rest = shlex.split(line)
        for option in (word for word in rest if word.startswith("--")):
            source = (ROOT / (ENTRY_POINTS[name].replace(".", "/") + ".py")).read_text()
            parameter = option.removeprefix("--").replace("-", "_")
            assert re.search(rf"\b{parameter}: Annotated", source) or f'"{option}"' in source, line


def operated() -> list[str]:
    """The shell block of "Operate", a command a line."""
    (block,) = re.findall(r"^```sh\n(.*?)^```", section("Operate"), re.DOTALL | re.MULTILINE)
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def test_shell_commands_take_a_change_through(settings: Settings, tmp_path: Path) -> None:
    """The block of "Operate" on real servers, line by line; then a command, read back with its token."""
    names = ("command_api", "read_api", "relay", "projector", "refresh")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    environment = {**os.environ, **variables(settings, ports), "PYTHONPATH": str(ROOT)}
    with ExitStack() as running:
        for number, line in enumerate(operated()):
            name, *rest = line.split()
            log = running.enter_context((tmp_path / f"{number}.log").open("w+"))
            process = subprocess.Popen(
                [sys.executable, "-m", ENTRY_POINTS[name].removesuffix(".__main__"), *rest],
                env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            if rest[-1] in ("serve", "run", "--scheduled"):
                running.callback(stopped, process, log)
            else:
                assert process.wait(120) == 0, said(log)
        command_api, read_api = (f"http://127.0.0.1:{ports[name]}" for name in ("command_api", "read_api"))
        client = running.enter_context(httpx.Client(trust_env=False, timeout=30))
        user = answered(client, "POST", f"{command_api}/users", json={"name": "Ada"}).json()
        thing = answered(client, "POST", f"{command_api}/products", json={"name": "lamp", "price": "12.50"}).json()
        body = {
            "user_id": user["user_id"],
            "region": "eu",
            "items": [{"product_id": thing["product_id"], "quantity": 1}],
        }
        placed = answered(client, "POST", f"{command_api}/orders", json=body)
        route = f"{read_api}/read/orders_by_user/{user['user_id']}?limit=50"
        token = {"Consistency-Token": placed.headers["Consistency-Token"]}
        rows = answered(client, "GET", route, headers=token).json()["rows"]
        assert [(row["order_id"], row["user_name"]) for row in rows] == [(placed.json()["order_id"], "Ada")]


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def variables(settings: Settings, ports: dict[str, int]) -> dict[str, str]:
    """The environment that says what `settings` says."""
    values: dict[str, Any] = {
        **{f"postgres__{name}": secret.get_secret_value() for name, secret in settings.postgres if secret},
        "kafka__bootstrap_servers": settings.kafka.bootstrap_servers,
        "kafka__topic": settings.kafka.topic,
        "kafka__group_id": settings.kafka.group_id,
        "cassandra__contact_points": json.dumps(settings.cassandra.contact_points),
        "cassandra__port": settings.cassandra.port,
        "cassandra__keyspace": settings.cassandra.keyspace,
        "relay__slot": settings.relay.slot,
        "relay__publication": settings.relay.publication,
        "relay__metrics_port": ports["relay"],
        "projector__projection": settings.projector.projection,
        "projector__replica": settings.projector.replica,
        "projector__metrics_port": ports["projector"],
        "refresh__metrics_port": ports["refresh"],
        "command_api__port": ports["command_api"],
        "read_api__port": ports["read_api"],
        "read_api__wait_ms": 30_000,
    }
    return {f"LOCKSTEP_{name.upper()}": str(value) for name, value in values.items()}


def answered(client: httpx.Client, method: str, url: str, **more: Any) -> httpx.Response:
    """The first reply that is no sign of a process still starting."""
    deadline = time.monotonic() + 60
    while True:
        try:
            reply = client.request(method, url, **more)
            if reply.status_code != 503 or time.monotonic() > deadline:
                assert reply.is_success, reply.text
                return reply
        except httpx.ConnectError:
            assert time.monotonic() < deadline, f"nothing answers at {url}"
        time.sleep(0.05)  # the deadline is above; the process is starting


def stopped(process: subprocess.Popen[bytes], log: IO[str]) -> None:
    """Ended by SIGTERM, in order."""
    process.terminate()
    try:
        assert process.wait(30) == 0, said(log)
    finally:
        process.kill()
        process.wait()


def said(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def test_every_entry_point_is_shown() -> None:
    assert {command[0] for command in COMMANDS} == set(ENTRY_POINTS)


# --- settings


def test_settings_file_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOCKSTEP_")]:
        monkeypatch.delenv(name)
    (block,) = blocks("toml")
    (tmp_path / "lockstep.toml").write_text(block)
    monkeypatch.setenv("LOCKSTEP_FILE", str(tmp_path / "lockstep.toml"))
    settings = Settings()
    assert settings.model_dump(exclude_unset=True).keys() == tomllib.loads(block).keys()
    assert settings.kafka.client_properties()["security.protocol"] == "SASL_SSL"
    assert settings.cassandra.ca_file == Path("/etc/tls/ca.pem")
    assert "…" not in repr(settings), "a password shows"


def test_environment_variables_are_settings() -> None:
    named = set(re.findall(r"LOCKSTEP_[A-Z_]+", TEXT)) - {"LOCKSTEP_FILE", "LOCKSTEP_"}
    known = {
        f"LOCKSTEP_{section}__{field}".upper()
        for section, of in Settings.model_fields.items()
        for field in of.annotation.model_fields  # type: ignore[union-attr]
    }
    # The reference application's own, which no section of the engine's settings knows.
    declarations = (ROOT / "projections/feeds.py").read_text()
    known |= set(re.findall(r'_VARIABLE = "(LOCKSTEP_[A-Z_]+)"', declarations))
    assert named
    assert named <= known


# --- what is named is there


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(targets) > 15
    assert not [target for target in targets if not (ROOT / target).is_file()]


def test_metrics_are_exported() -> None:
    registry = CollectorRegistry()
    registry.register(RelayCollector(RelayState()))
    exported = {
        metric.name
        for each in (
            registry,
            WorkerMetrics().registry,
            RefreshMetrics().registry,
            CommandMetrics(dict).registry,
            ReadMetrics().registry,
        )
        for metric in each.collect()
    }
    named = [
        text for text in code(section("Operate")) if re.fullmatch(r"(projection|relay|command_api|read_api)_\w+", text)
    ]
    assert len(named) > 20
    assert not set(named) - exported


def test_each_dependency_has_its_reason() -> None:
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    packages = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in wanted}
    rows = cells("Dependencies")
    assert all(reason for _, reason in rows)
    assert {name.strip() for names, _ in rows for name in names.split(",")} == packages


def test_read_to_the_end() -> None:
    assert len(TEXT.splitlines()) <= 400
