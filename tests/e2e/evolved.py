"""The read models of the application as a later release declares them: two of them otherwise, neither of which is additive.

One reads a column that no other does, so a replica of the release before lacks it.
"""

from __future__ import annotations

from dataclasses import replace

import projections
from command_api.tables import posts, users
from projections.people import USER_PROFILE
from projections.posts import POST_BY_ID
from projections.read_model import ReadModel

EVOLVED = (
    replace(USER_PROFILE, select=USER_PROFILE.select.where(users.c.version > 0)),
    replace(POST_BY_ID, select=POST_BY_ID.select.where(posts.c.body != "")),
)
NAMES = tuple(model.name for model in EVOLVED)

_BY_NAME = {model.name: model for model in EVOLVED}
READ_MODELS: tuple[ReadModel, ...] = tuple(_BY_NAME.get(model.name, model) for model in projections.READ_MODELS)
