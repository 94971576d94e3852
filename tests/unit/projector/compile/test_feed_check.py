"""Feeds whose copies and merged entries together are not their select() are refused by name, before a worker starts."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select

from projections import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.read_model import ReadModel
from projector import configured
from projector.compile.errors import CompileError
from projector.compile.program import compile_models
from tests.oracle.feed_views import FOLLOWING, PULL, author, edge, entry, joined, of_edges

FEED = joined(2).model
assert FEED.fan_out is not None


def with_policy(feed: ReadModel = FEED, **changes: Any) -> ReadModel:
    """A feed with something else in its policy."""
    assert feed.fan_out is not None
    return replace(feed, fan_out=replace(feed.fan_out, **changes))


def pull_where(condition: Any) -> ReadModel:
    return replace(PULL, select=PULL.select.where(condition))


REFUSED = {
    "must have the feed's tables, joins and conditions": with_policy(pull=pull_where(entry.c.body != "")),
    "computes body otherwise": with_policy(
        pull=replace(
            PULL,
            select=select(
                *(c for c in PULL.select.selected_columns if c.name not in ("body", "liked")),
                (entry.c.body + "!").label("body"),
                PULL.select.selected_columns.liked,
            ).join(author, author.c.id == entry.c.author_id),
        )
    ),
    "must be all rows of edge": with_policy(
        following=replace(FOLLOWING, select=FOLLOWING.select.where(edge.c.since > 1))
    ),
    "edge.since: a feed's rows may depend on": replace(FEED, select=FEED.select.where(edge.c.since > 1)),
    "the reader must be this column": with_policy(edge_reader="author_id"),
    "join edge to the entries by this column": with_policy(edge_author="reader_id"),
    "must have the feed's tables, joins and conditions, without edge": replace(
        FEED, select=FEED.select.where(entry.c.at > 1)
    ),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_feed_that_readers_could_not_put_together_is_refused(said: str) -> None:
    with pytest.raises(CompileError, match=f"read model 'feed_2_90' is refused: .*{said}"):
        compile_models([REFUSED[said]])


@pytest.mark.parametrize("feed", [joined(2), of_edges(3)], ids=["joined", "of edges"])
def test_one_that_they_can_is_taken(feed: Any) -> None:
    assert compile_models(feed.models).feeds


def test_the_same_conditions_on_both_sides_are_taken() -> None:
    """In whatever order, and with the sides of an equality exchanged."""
    both = (entry.c.at > 1, entry.c.body == author.c.name)
    feed = replace(FEED, select=FEED.select.where(*both))
    pull = replace(PULL, select=PULL.select.where(author.c.name == entry.c.body, entry.c.at > 1))
    assert compile_models([with_policy(feed, pull=pull)]).feeds


def test_a_feed_is_configured_with_what_its_readers_need(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("declared")
    module.MODELS = (HOME_TIMELINE, POSTS_BY_AUTHOR)  # type: ignore[attr-defined]
    module.ALL = (HOME_TIMELINE, POSTS_BY_AUTHOR, FOLLOWEES_BY_USER)  # type: ignore[attr-defined]
    monkeypatch.setattr(configured.importlib, "import_module", {"declared": module}.__getitem__)
    assert len(configured.load_read_models("declared:ALL")) == 3
    with pytest.raises(configured.ConfigurationError, match="the feed home_timeline without followees_by_user"):
        configured.load_read_models("declared:MODELS")
