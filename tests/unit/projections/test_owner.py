"""Whose a partition is, as a declaration may say it."""

from __future__ import annotations

import dataclasses

import pytest

from projections import READ_MODELS
from projections.messages import MESSAGES_BY_CHANNEL
from projections.orders import ORDERS_BY_USER
from projections.read_model import DeclarationError


def test_an_owner_is_a_column_that_a_query_gives() -> None:
    assert ORDERS_BY_USER.owner == "user_id"
    for model, owner in ((ORDERS_BY_USER, "order_id"), (ORDERS_BY_USER, "nobody"), (MESSAGES_BY_CHANNEL, "bucket")):
        with pytest.raises(
            DeclarationError, match=f"{model.name}: owner '{owner}' must be a column of the partition key"
        ):
            dataclasses.replace(model, owner=owner)


def test_what_is_kept_by_user_has_an_owner() -> None:
    # A read model of the application that is asked for by user is that user's, unless somebody decides otherwise here.
    by_user = {model.name for model in READ_MODELS if model.partition_key == ("user_id",)}
    assert {model.name for model in READ_MODELS if model.owner == "user_id"} == by_user
