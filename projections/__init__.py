"""Read models of the reference application, and what a declaration is.

Reading order: read_model (a declaration), values (its types), documents and document_values (rows embedded in a column),
time_buckets (partitions cut by time), cassandra_table (its table), then a file a domain.
``READ_MODELS`` is what the projector and the read API are configured with (``projections:READ_MODELS``): those that are
maintained change by change, and those whose SQL is run on a schedule.
They are loaded when one of them is first asked for, so that what is wrong with a declaration is an error of whoever wants it.
"""

from importlib import import_module
from typing import Any

from projections.read_model import ReadModel

CATEGORY_REPORT: ReadModel
FOLLOWEES_BY_USER: ReadModel
HOME_TIMELINE: ReadModel
POSTS_BY_AUTHOR: ReadModel
MESSAGE_BUCKETS_BY_CHANNEL: ReadModel
MESSAGES_BY_CHANNEL: ReadModel
ORDER_BY_ID: ReadModel
ORDERS_BY_STATUS: ReadModel
ORDERS_BY_USER: ReadModel
USER_PROFILE: ReadModel
POST_BY_ID: ReadModel
PRODUCT_PAGE: ReadModel
PRODUCT_REVIEWS: ReadModel
DAILY_SALES_BY_REGION: ReadModel
TRIPS_BY_CITY_DATE: ReadModel
TRIPS_BY_DRIVER: ReadModel
INCREMENTAL: tuple[ReadModel, ...]
SCHEDULED: tuple[ReadModel, ...]
READ_MODELS: tuple[ReadModel, ...]


def __getattr__(name: str) -> Any:
    if name not in __annotations__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("projections.declared"), name)
