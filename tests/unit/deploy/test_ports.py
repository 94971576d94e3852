"""Ports: free ones are found and remembered, a taken one that was asked for is an error that names it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from deploy.local import ports
from deploy.local.errors import MachineError, PortInUseError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server.getsockname()[1]


def test_every_name_gets_a_port_of_its_own() -> None:
    chosen = ports.choose({}, {})
    assert set(chosen) == set(ports.NAMES)
    assert len(set(chosen.values())) == len(ports.NAMES)


def test_remembered_ports_are_taken_again_while_they_are_free(taken: int) -> None:
    first = ports.choose({}, {})
    assert ports.choose({}, first) == first
    moved = ports.choose({}, first | {"kafka": taken})
    assert moved["kafka"] != taken
    assert {name: port for name, port in moved.items() if name != "kafka"} == {
        name: port for name, port in first.items() if name != "kafka"
    }


def test_a_port_asked_for_that_is_in_use_is_named(taken: int) -> None:
    with pytest.raises(PortInUseError, match=f"port {taken}, asked for kafka, is in use"):
        ports.choose({"kafka": taken}, {})


@pytest.mark.parametrize("wish", ["kafka", "kafka=", "nothing=1", "kafka=70000", "kafka=x"])
def test_a_wish_that_cannot_be_read_is_refused(wish: str) -> None:
    with pytest.raises(MachineError, match="is not a port that can be asked for"):
        ports.parse_wishes([wish])


def test_wishes_are_read() -> None:
    assert ports.parse_wishes(["kafka=9092", "read-api=8081"]) == {"kafka": 9092, "read-api": 8081}
