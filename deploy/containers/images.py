"""Which images: the official ones by default, pinned by version; an environment variable names another. Pure.

    LOCKSTEP_POSTGRES_IMAGE   LOCKSTEP_KAFKA_IMAGE   LOCKSTEP_CASSANDRA_IMAGE   the servers, of tests and of compose.yaml
    LOCKSTEP_PYTHON_IMAGE                                                       what the project's own image begins with
    LOCKSTEP_IMAGE                                                              the project's own

The versions of the servers are those that the local stack runs, so that containers and embedded servers differ in how
they are started and in nothing else. A stand-in has the official image's version and a name of this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Image:
    """variable: of the environment. official: the default. stand_in: what is built where `official` can't be pulled."""

    variable: str
    official: str
    stand_in: str

    def name(self, environment: Mapping[str, str]) -> str:
        """The image to run; an empty variable counts as none."""
        return environment.get(self.variable) or self.official


POSTGRES: Final = Image(
    variable="LOCKSTEP_POSTGRES_IMAGE", official="postgres:18.6", stand_in="lockstep/stand-in-postgres:18.6"
)
KAFKA: Final = Image(
    variable="LOCKSTEP_KAFKA_IMAGE", official="apache/kafka:4.1.1", stand_in="lockstep/stand-in-kafka:4.1.1"
)
CASSANDRA: Final = Image(
    variable="LOCKSTEP_CASSANDRA_IMAGE", official="cassandra:5.0.6", stand_in="lockstep/stand-in-cassandra:5.0.6"
)
PYTHON: Final = Image(
    variable="LOCKSTEP_PYTHON_IMAGE", official="python:3.11.14-slim-bookworm", stand_in="lockstep/stand-in-python:3.11"
)
SERVERS: Final[Mapping[str, Image]] = {"postgres": POSTGRES, "kafka": KAFKA, "cassandra": CASSANDRA}

REAPER: Final = "testcontainers/ryuk"
PROJECT_VARIABLE: Final = "LOCKSTEP_IMAGE"
PROJECT: Final = "lockstep/projections:0.1.0"
BASE: Final = "lockstep/stand-in-debian:bookworm"


def version(image: str) -> str:
    """The tag; empty without one."""
    return image.rpartition("/")[2].partition(":")[2]


def stand_in_variables(*, reaper: bool = False) -> dict[str, str]:
    """What has tests, compose.yaml and the project's image use the stand-ins.

    reaper: the engine has testcontainers' own helper, which removes what a killed test leaves and is an image from a
    registry too. Without it the engine's end is theirs.
    """
    chosen = {image.variable: image.stand_in for image in (*SERVERS.values(), PYTHON)}
    return chosen if reaper else chosen | {"TESTCONTAINERS_RYUK_DISABLED": "true"}


def shell(variables: Mapping[str, str]) -> str:
    """Lines for a shell's ``eval``; the values hold nothing that a shell would read otherwise."""
    return "".join(f"export {name}={value}\n" for name, value in variables.items())
