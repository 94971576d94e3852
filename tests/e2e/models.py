"""A few of the reference application's read models, for tests that read no others: each table costs Cassandra CPU to make and drop."""

from projections import ORDER_BY_ID, ORDERS_BY_STATUS, ORDERS_BY_USER, USER_PROFILE

ORDERS = (ORDER_BY_ID, ORDERS_BY_STATUS, ORDERS_BY_USER, USER_PROFILE)
"""Orders in three tables, and their users."""
