"""Channels and messages over the command API: a message is found by its id alone, whose time is its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from uuid6 import uuid7

from command_api.commands.messages import time_of
from tests.integration.command_server import Api, problem


def id_at(moment: datetime, salt: int = 0) -> str:
    """A uuid v7 of that time."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | salt))


def channel(api: Api) -> str:
    return str(api.post("/channels", {"name": "general"}).raise_for_status().json()["channel_id"])


def test_a_message_is_sent_edited_and_deleted(api: Api) -> None:
    author_id, channel_id = api.user(), channel(api)
    made = api.post("/messages", {"channel_id": channel_id, "author_id": author_id, "body": " hello "})
    assert made.status_code == 201, made.text
    message_id = made.json()["message_id"]
    assert made.headers["location"] == f"/messages/{message_id}"
    assert datetime.fromisoformat(made.json()["sent_at"]) == time_of(UUID(message_id))
    again = {"message_id": message_id, "channel_id": channel_id, "author_id": author_id, "body": "x"}
    problem(api.post("/messages", again), 409, "conflict")
    edited = api.put(f"/messages/{message_id}/body", {"body": "good bye"})
    assert (edited.json()["body"], edited.headers["etag"]) == ("good bye", '"2"')
    assert edited.json()["sent_at"] == made.json()["sent_at"]
    problem(api.delete(f"/users/{author_id}"), 409, "conflict")
    problem(api.delete(f"/messages/{message_id}", If_Match='"1"'), 412, "version-mismatch")
    api.delete(f"/messages/{message_id}", If_Match='"2"').raise_for_status()
    assert api.rows("select from messages") == []
    problem(api.delete(f"/messages/{message_id}"), 404, "not-found")
    problem(api.put(f"/messages/{message_id}/body", {"body": "x"}), 404, "not-found")
    problem(api.put(f"/messages/{uuid4()}/body", {"body": "x"}), 404, "not-found")


def test_what_a_message_names_must_be_there(api: Api) -> None:
    author_id, channel_id = api.user(), channel(api)
    for names in (
        {"author_id": str(uuid4()), "channel_id": channel_id},
        {"author_id": author_id, "channel_id": str(uuid4())},
    ):
        problem(api.post("/messages", names | {"body": "x"}), 422, "unknown-reference")
    problem(api.post("/channels", {"channel_id": channel_id, "name": "x"}), 409, "conflict")


@pytest.mark.parametrize("away", [timedelta(days=-1, minutes=-1), timedelta(minutes=2), timedelta(days=365 * 8500)])
def test_a_given_id_is_of_about_now(api: Api, away: timedelta) -> None:
    names = {"channel_id": channel(api), "author_id": api.user(), "body": "x"}
    now = datetime.now(UTC)
    far = id_at(now + away) if away.days < 10_000 else str(UUID(int=((1 << 48) - 1) << 80 | 7 << 76 | 2 << 62))
    for refused in (far, str(uuid4())):
        found = problem(api.post("/messages", names | {"message_id": refused}), 422, "invalid")
        assert found["errors"][0]["field"] == "body.message_id"
    near = id_at(now - timedelta(hours=23))
    assert api.post("/messages", names | {"message_id": near}).json()["message_id"] == near


def test_postgres_holds_a_messages_time_to_its_id(api: Api) -> None:
    names = (channel(api), api.user())
    insert = "insert into messages (message_id, sent_at, channel_id, author_id, body) values (%s, now(), %s, %s, 'x')"
    now = uuid7().int
    for message_id in (UUID(int=now), UUID(int=now & ~(15 << 76) | 4 << 76)):
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            api.admin.execute(insert, (message_id, *names))
        assert refused.value.diag.constraint_name in ("ck_messages_time_ordered_id", "ck_messages_time_of_its_id")


def test_a_month_that_is_not_there_is_said_to_the_operator(api: Api) -> None:
    names = {"channel_id": channel(api), "author_id": api.user(), "body": "x"}
    for (partition,) in api.rows(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'messages'::regclass"
    ):
        api.admin.execute(f"drop table {partition}".encode())
    found = problem(api.post("/messages", names), 503, "unavailable")
    assert "command-api months" in found["hint"]
    assert api.rows("select from messages") == []
