"""What a command's token speaks of: the tables that it has written, and whatever the caller knew before."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken
from tests.integration.command_server import Api, problem


def token_of(reply: httpx.Response) -> ConsistencyToken:
    assert reply.is_success, reply.text
    return ConsistencyToken.parse(reply.headers["consistency-token"])


def test_a_token_names_the_tables_that_were_written_cascades_and_partitions_too(api: Api) -> None:
    product, user, channel = api.product(), api.user(), api.post("/channels", {"name": "news"}).json()["channel_id"]
    items = [{"product_id": product, "quantity": 1}]
    placed = api.post("/orders", {"user_id": user, "region": "eu", "items": items})
    assert set(token_of(placed).tables) == {"orders", "order_items"}
    moved = api.put(f"/orders/{placed.json()['order_id']}/status", {"status": "paid"})
    assert set(token_of(moved).tables) == {"orders"}
    deleted = api.delete(f"/orders/{placed.json()['order_id']}")
    assert set(token_of(deleted).tables) == {"orders", "order_items"}
    said = api.post("/messages", {"channel_id": channel, "author_id": user, "body": "hello"})
    assert set(token_of(said).tables) == {"messages"}
    renamed = api.put(f"/users/{user}/name", {"name": "Bea"}, Idempotency_Key="rename")
    assert set(token_of(renamed).tables) == {"users"}
    (lsn,) = token_of(renamed).tables.values()
    assert lsn <= Lsn.parse(api.rows("select pg_current_wal_flush_lsn()::text")[0][0])


def test_who_keeps_only_the_newest_token_forgets_nothing(api: Api) -> None:
    user = api.post("/users", {"name": "Ada"})
    product = api.post("/products", {"name": "Pen", "price": "1.00"})
    for table, earlier in (("users", user), ("products", product)):
        after = token_of(api.post("/drivers", {"name": "Dora"}))
        assert after.position([table]) >= token_of(earlier).position([table])


def test_a_token_that_was_sent_along_is_merged_and_takes_the_place_of_all_other_positions(api: Api) -> None:
    first = token_of(api.post("/users", {"name": "Ada"}, Consistency_Token="0/1"))
    assert (first.everywhere, set(first.tables)) == (Lsn(1), {"users"})
    second = token_of(api.post("/drivers", {"name": "Dora"}, Consistency_Token=f"{first}, 0/2;posts@0/3"))
    assert (second.everywhere, set(second.tables)) == (Lsn(2), {"users", "drivers", "posts"})
    assert second.tables["users"] == first.tables["users"] < second.tables["drivers"]
    keyed = [
        api.post("/drivers", {"name": "Don"}, Consistency_Token=str(second), Idempotency_Key="don") for _ in range(2)
    ]
    assert keyed[0].content == keyed[1].content
    assert set(token_of(keyed[0]).tables) == set(second.tables)


def test_what_wrote_nothing_speaks_of_every_table(api: Api) -> None:
    before = token_of(api.post("/users", {"name": "Ada"}))
    refused = api.delete(f"/users/{uuid4()}", Consistency_Token="0/1")
    token = ConsistencyToken.parse(refused.headers["consistency-token"])
    assert token.position(["anything"]) >= before.newest


@pytest.mark.parametrize("token", ["now", "0/1,", "0/1;users"])
def test_a_token_that_is_none_is_refused(api: Api, token: str) -> None:
    problem(api.post("/users", {"name": "Ada"}, Consistency_Token=token), 400, "bad-request")
    problem(api.post("/users", {"name": "Ada"}, Prefer="wait=soon"), 400, "bad-request")
    assert api.rows("select count(*) from users") == [(0,)]


def test_without_a_read_api_nobody_waits(api: Api) -> None:
    reply = api.post("/users", {"name": "Ada"}, Prefer="wait=5")
    assert "preference-applied" not in reply.headers
    assert reply.json()["covered"] is None
