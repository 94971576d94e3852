"""The read models of the reference application, in three tuples.

Loading this reads the environment (`projections.feeds`) and raises DeclarationError where it can't be used.
"""

from projections.catalogue import CATEGORY_REPORT
from projections.feeds import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.messages import MESSAGE_BUCKETS_BY_CHANNEL, MESSAGES_BY_CHANNEL
from projections.orders import ORDER_BY_ID, ORDERS_BY_STATUS, ORDERS_BY_USER
from projections.people import USER_PROFILE
from projections.posts import POST_BY_ID
from projections.products import PRODUCT_PAGE
from projections.read_model import ReadModel
from projections.reviews import PRODUCT_REVIEWS
from projections.sales import DAILY_SALES_BY_REGION
from projections.trips import TRIPS_BY_CITY_DATE, TRIPS_BY_DRIVER

INCREMENTAL: tuple[ReadModel, ...] = (
    ORDERS_BY_USER,
    ORDER_BY_ID,
    ORDERS_BY_STATUS,
    PRODUCT_PAGE,
    PRODUCT_REVIEWS,
    DAILY_SALES_BY_REGION,
    USER_PROFILE,
    POST_BY_ID,
    TRIPS_BY_DRIVER,
    TRIPS_BY_CITY_DATE,
    MESSAGES_BY_CHANNEL,
    MESSAGE_BUCKETS_BY_CHANNEL,
    POSTS_BY_AUTHOR,
    FOLLOWEES_BY_USER,
    HOME_TIMELINE,
)
SCHEDULED: tuple[ReadModel, ...] = (CATEGORY_REPORT,)
READ_MODELS: tuple[ReadModel, ...] = (*INCREMENTAL, *SCHEDULED)
