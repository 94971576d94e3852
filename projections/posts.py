"""A post with its author and the number of those who like it."""

from datetime import timedelta

from sqlalchemy import func, select

from command_api.tables import likes, posts, users
from projections.read_model import ReadModel

POST_BY_ID = ReadModel(
    name="post_by_id",
    select=select(
        posts.c.post_id,
        posts.c.author_id,
        users.c.name.label("author_name"),
        users.c.avatar_url,
        posts.c.body,
        posts.c.created_at,
        select(func.count()).where(likes.c.post_id == posts.c.post_id).scalar_subquery().label("like_count"),
    ).join(users, users.c.user_id == posts.c.author_id),
    partition_key=("post_id",),
    staleness=timedelta(seconds=10),
    budgets={"like_count": timedelta(seconds=5)},
)
