"""The home timeline: posts of whom a user follows, newest first; with it the two read models that a merged read needs.

A post is copied to its author's followers, up to ten thousand of them; those of an author with more are merged when a
timeline is read. Users whom nobody has seen for a week get no copies until they are back, and a timeline keeps its newest
800: about what anybody scrolls through.

``LOCKSTEP_FEED_THRESHOLD`` gives another number of followers, for projector and read API alike: the demonstration has
no ten thousand users.
"""

import os
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import func, select

from command_api.tables import follows, likes, posts, users
from projections.fan_out import Active, FanOut
from projections.read_model import DeclarationError, ReadModel, descending

_VARIABLE = "LOCKSTEP_FEED_THRESHOLD"


def threshold_in(environment: Mapping[str, str]) -> int:
    """The number of followers from which on an author is hot; raises DeclarationError naming the variable."""
    text = environment.get(_VARIABLE, "10000")
    if not (text.isascii() and text.isdigit() and int(text)):
        raise DeclarationError(
            f"{_VARIABLE} is {text!r}: set it to a whole number of followers, 1 or more, or leave it out"
        )
    return int(text)


THRESHOLD = threshold_in(os.environ)
_POST = (
    posts.c.created_at,
    posts.c.post_id,
    posts.c.author_id,
    users.c.name.label("author_name"),
    users.c.avatar_url,
    posts.c.body,
    select(func.count()).where(likes.c.post_id == posts.c.post_id).scalar_subquery().label("like_count"),
)
_NEWEST_FIRST = (descending("created_at"), "post_id")

POSTS_BY_AUTHOR = ReadModel(
    name="posts_by_author",
    select=select(*_POST).join(users, users.c.user_id == posts.c.author_id),
    partition_key=("author_id",),
    clustering_key=_NEWEST_FIRST,
    staleness=timedelta(seconds=5),
)

FOLLOWEES_BY_USER = ReadModel(
    name="followees_by_user",
    select=select(follows.c.follower_id.label("user_id"), follows.c.followee_id.label("author_id"), follows.c.since),
    partition_key=("user_id",),
    clustering_key=("author_id",),
    staleness=timedelta(seconds=5),
    owner="user_id",
)

HOME_TIMELINE = ReadModel(
    name="home_timeline",
    select=select(follows.c.follower_id.label("user_id"), *_POST)
    .join(posts, posts.c.author_id == follows.c.followee_id)
    .join(users, users.c.user_id == posts.c.author_id),
    partition_key=("user_id",),
    clustering_key=_NEWEST_FIRST,
    staleness=timedelta(seconds=10),
    fan_out=FanOut(
        author="author_id",
        edges=follows,
        edge_reader="follower_id",
        edge_author="followee_id",
        threshold=THRESHOLD,
        pull=POSTS_BY_AUTHOR,
        following=FOLLOWEES_BY_USER,
        active=Active(table=users, reader="user_id", seen="last_seen_at", within=timedelta(days=7)),
        cap=800,
    ),
    budgets={"like_count": timedelta(seconds=5)},
    owner="user_id",
)
