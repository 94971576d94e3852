"""Replica sets against the driver's own, from its own ring and replication strategies; keys as the driver makes them."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra.metadata import KeyspaceMetadata, Metadata, Murmur3Token
from cassandra.policies import HostDistance, SimpleConvictionPolicy
from cassandra.pool import Host

from projections.cassandra_table import CassandraTable
from projections.values import Kind, ValueType
from projector.cassandra.encode import RowEncoder
from projector.cassandra.ring import ring_of, routing_key

PARTITIONER = "org.apache.cassandra.dht.Murmur3Partitioner"


def session(nodes: int, replication: dict[str, str], local: str = "one") -> Any:
    """What `ring_of` reads of a session, holding the driver's real metadata."""
    seeded = random.Random(11)
    metadata = Metadata()
    owners = {}
    for number in range(nodes):
        host = Host(f"10.0.0.{number}", SimpleConvictionPolicy, datacenter="one" if number % 2 else "two", rack="r")
        metadata.add_or_return_host(host)
        owners[host] = [str(seeded.randrange(-(2**63), 2**63)) for _ in range(4)]
    metadata.keyspaces["k"] = KeyspaceMetadata("k", True, replication.pop("class"), replication)
    metadata.rebuild_token_map(PARTITIONER, owners)

    def distance(host: Host) -> int:
        near = local == "any" or host.datacenter == local
        return int(HostDistance.LOCAL if near else HostDistance.REMOTE)

    cluster = SimpleNamespace(metadata=metadata, profile_manager=SimpleNamespace(distance=distance))
    return SimpleNamespace(cluster=cluster)


def test_a_key_is_routed_to_the_drivers_replicas() -> None:
    some = session(7, {"class": "SimpleStrategy", "replication_factor": "3"}, local="any")
    ring = ring_of(some, "k")
    assert ring is not None
    for number in range(2_000):
        key = str(number).encode()
        assert set(ring.replicas(key)) == set(some.cluster.metadata.get_replicas("k", key))


def test_only_nodes_of_the_local_data_centre_are_named() -> None:
    some = session(8, {"class": "NetworkTopologyStrategy", "one": "2", "two": "1"})
    ring = ring_of(some, "k")
    assert ring is not None
    for number in range(200):
        replicas = ring.replicas(str(number).encode())
        assert len(replicas) == 2
        assert {host.datacenter for host in replicas} == {"one"}


@pytest.mark.parametrize(("nodes", "factor"), [(1, "1"), (3, "3"), (3, "5")])
def test_no_token_is_computed_where_every_node_holds_every_row(nodes: int, factor: str) -> None:
    assert ring_of(session(nodes, {"class": "SimpleStrategy", "replication_factor": factor}, local="any"), "k") is None


def test_the_routing_key_is_the_partition_key_of_the_entry() -> None:
    text, bigint = ValueType(kind=Kind.TEXT), ValueType(kind=Kind.INTEGER, bits=64)
    columns = {"a": text, "b": bigint, "v": text}
    for partition, expected in (
        (("a",), b"x"),
        (("a", "b"), b"\0\1x\0" + b"\0\x08" + (5).to_bytes(8, "big") + b"\0"),
    ):
        table = CassandraTable(keyspace="k", name="t", columns=columns, partition_key=partition, clustering=())
        (entry,) = RowEncoder(table).bind(b"id", [("x", 5, "z")])
        assert routing_key(entry, 5 + len(b"id"), len(partition)) == expected


def test_entries_are_grouped_by_their_replicas() -> None:
    some = session(6, {"class": "SimpleStrategy", "replication_factor": "2"}, local="any")
    ring = ring_of(some, "k")
    assert ring is not None
    text = ValueType(kind=Kind.TEXT)
    table = CassandraTable(keyspace="k", name="t", columns={"a": text}, partition_key=("a",), clustering=())
    entries = RowEncoder(table).bind(b"id", [(str(n),) for n in range(500)])
    groups = ring.group(entries, 7, 1)
    assert sorted(i for indexes in groups.values() for i in indexes) == list(range(500))
    assert len(groups) > 1
    for replicas, indexes in groups.items():
        for i in indexes:
            assert set(replicas) == set(some.cluster.metadata.get_replicas("k", str(i).encode()))


def test_the_driver_hashes_with_its_extension() -> None:
    assert Murmur3Token.hash_fn(b"123") == -7468325962851647638
