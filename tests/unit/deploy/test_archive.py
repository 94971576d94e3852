"""Packages come from where this machine's apt has them from: a whole release's archive, not its updates."""

from __future__ import annotations

import pytest

from deploy.containers.errors import NoEngineError
from deploy.containers.packages import archive

UPDATES = "bookworm-security main http://security.example/\nbookworm-updates main http://one.example/debian/\n"


def test_the_release_itself_is_taken() -> None:
    told = f"{UPDATES}bookworm contrib http://two.example/\nbookworm main http://one.example/debian/\n"
    assert archive(told) == "http://one.example/debian/"


def test_a_machine_without_such_a_source_is_told_so() -> None:
    with pytest.raises(NoEngineError, match="no source"):
        archive(UPDATES)
