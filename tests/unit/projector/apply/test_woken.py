"""Requests to write a reader's partition anew: what the log may say, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from projections.feeds import HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.read_model import ReadModel
from projector.apply.requests import WAKE, RequestError, asked, woken
from tests.unit.projector.apply.test_requests import transaction

READER = "01890a5d-ac96-774b-bcce-b302099a8057"
MODELS = {model.name: model for model in (HOME_TIMELINE, POSTS_BY_AUTHOR)}


def found(content: str, models: dict[str, ReadModel] = MODELS) -> tuple[list[tuple[str, Any, int]], list[str]]:
    """(what is woken, what is refused)."""
    refused: list[RequestError] = []
    log = [transaction(WAKE, content)]
    assert asked(log, models, 0, refused.append) == {}
    return list(woken(log, models, refused.append)), [str(error) for error in refused]


def test_readers_come_with_the_commit_time() -> None:
    ((model, reader, at),), refused = found(f'{{"model": "home_timeline", "keys": [["{READER}"]]}}')
    assert (model, reader, refused) == ("home_timeline", READER, [])
    assert at == transaction(WAKE, "").committed_at


def test_feeds_of_other_workers_are_theirs_to_write() -> None:
    assert found(f'{{"model": "home_timeline", "keys": [["{READER}"]]}}', {}) == ([], [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "can't be read"),
        ('{"model": "home_timeline"}', "without keys"),
        ('{"model": "home_timeline", "keys": [["a", "b"]]}', "2 values"),
        ('{"model": "home_timeline", "keys": [[7]]}', "expected"),
        ('{"model": "home_timeline", "keys": [["nobody"]]}', "no reader"),
        (f'{{"model": "posts_by_author", "keys": [["{READER}"]]}}', "no feed"),
    ],
)
def test_others_are_refused_once(content: str, reason: str) -> None:
    readers, (refused,) = found(content)
    assert readers == []
    assert reason in refused
