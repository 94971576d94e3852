"""When a reader was last seen changes every minute: it rewrites what shows it, and none of the reader's own entries' copies."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest

from command_api.envelope import Record, decode
from projections.feeds import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.people import USER_PROFILE
from projector.apply.step import Step
from projector.apply.transaction import Changes, Transaction
from projector.compile.program import compile_models
from projector.replica.schema import open_replica

NOW, LATER = "2027-01-15T08:00:00.000000Z", "2027-01-15T08:01:00.000000Z"
AUTHOR, FOLLOWER, POST = (str(uuid.UUID(int=n)) for n in (1, 2, 3))
MODELS = (USER_PROFILE, POSTS_BY_AUTHOR, FOLLOWEES_BY_USER, HOME_TIMELINE)


def record(table: str, op: str, **after: Any) -> Record:
    source = {"schema": "public", "table": table, "lsn": 1, "ts_ms": 1}
    place = {"id": "1:1", "total_order": 1}
    return decode(msgspec.json.encode({"op": op, "ts_ms": 1, "after": after, "source": source, "transaction": place}))


def user(op: str, name: str, seen: str, user_id: str = AUTHOR) -> Record:
    return record("users", op, user_id=user_id, name=name, avatar_url=None, last_seen_at=seen)


class Player:
    def __init__(self) -> None:
        program = compile_models(MODELS)
        self._connection = open_replica(None, program, "log")
        self._step = Step(self._connection, program)
        self._connection.execute("BEGIN")
        self._program = program

    def names(self, *records: Record) -> dict[str, list[str]]:
        """Of a batch: what is written as the author's name, by read model."""
        changes = Changes()
        for each in records:
            changes.append(each, b"")
        self._step.take([Transaction(1, 1_800_000_000_000_000, changes, 0)])
        found = {}
        for model in self._program.models:
            columns = [*model.model.key, *(n for n in model.model.columns if n not in model.model.key)]
            at = next((columns.index(n) for n in ("author_name", "name") if n in columns), None)
            rows = [row for rows in self._step.present(model) for row in rows]
            if rows and at is not None:
                found[model.model.name] = [row[at] for row in rows]
        return found


@pytest.fixture
def player() -> Player:
    made = Player()
    made.names(
        user("c", "Ada", NOW),
        user("c", "Bob", NOW, FOLLOWER),
        record("follows", "c", follower_id=FOLLOWER, followee_id=AUTHOR, since=NOW),
        record("posts", "c", post_id=POST, author_id=AUTHOR, body="hello", created_at=NOW),
    )
    return made


def test_being_seen_writes_what_shows_it(player: Player) -> None:
    assert player.names(user("u", "Ada", LATER)) == {"user_profile": ["Ada"]}


@pytest.mark.parametrize("seen", [NOW, LATER])
def test_a_rename_writes_the_copies(player: Player, seen: str) -> None:
    everywhere = {"user_profile": ["Eve"], "posts_by_author": ["Eve"], "home_timeline": ["Eve"]}
    assert player.names(user("u", "Eve", seen)) == everywhere


def test_a_rename_that_is_taken_back_after_being_seen_counts(player: Player) -> None:
    batch = (user("u", "Eve", NOW), user("u", "Eve", LATER), user("u", "Ada", LATER))
    assert set(player.names(*batch)) == {"user_profile", "posts_by_author", "home_timeline"}


def test_being_seen_after_coming_in_the_same_batch_counts(player: Player) -> None:
    new = str(uuid.UUID(int=9))
    found = player.names(user("c", "New", NOW, new), user("u", "New", LATER, new))
    assert found == {"user_profile": ["New"]}


def test_one_who_is_seen_does_not_write_what_another_one_is_renamed_in(player: Player) -> None:
    found = player.names(user("u", "Ada", LATER), user("u", "Rob", LATER, FOLLOWER))
    assert found == {"user_profile": ["Ada", "Rob"]}
