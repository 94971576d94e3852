"""Every function, operator and cast that a read model may compute with gives what PostgreSQL gives, errors included."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projector.compile.catalogue import SCALARS
from tests.unit.projector.compile.against_postgres import differences

EXAMPLES = [text for entries in SCALARS.values() for entry in entries for text in entry.examples]


@pytest.fixture(scope="module")
def postgres(judge: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection under UTC."""
    with psycopg.connect(judge, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok', 'happy')")
        yield connection


@pytest.mark.parametrize("text", EXAMPLES)
@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(rng=st.randoms(use_true_random=True))
def test_gives_what_postgres_gives(text: str, rng: Random, postgres: psycopg.Connection[Any]) -> None:
    assert differences(text, rng, postgres) == []
