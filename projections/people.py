"""A user's profile with the addresses in it, read at once."""

from datetime import timedelta

from sqlalchemy import select

from command_api.tables import addresses, users
from projections.documents import embedded
from projections.read_model import ReadModel

USER_PROFILE = ReadModel(
    name="user_profile",
    select=select(
        users.c.user_id,
        users.c.name,
        users.c.avatar_url,
        users.c.last_seen_at,
        *embedded(
            "addresses",
            select(
                addresses.c.address_id,
                addresses.c.label,
                addresses.c.line,
                addresses.c.city,
                addresses.c.postcode,
            )
            .where(addresses.c.user_id == users.c.user_id)
            .order_by(addresses.c.address_id),
            bound=20,
        ),
    ),
    partition_key=("user_id",),
    staleness=timedelta(seconds=5),
    owner="user_id",
)
