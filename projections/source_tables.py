"""Which source tables a read model's rows are made of: those that its select() names, subqueries included. Pure.

A scheduled read model is made of its pseudo-table alone: a change of the tables that its SQL reads reaches it with the
next run, so there is nothing of that change to wait for.
"""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.sql import visitors

from projections.read_model import ReadModel
from projections.refreshed import maintained


def source_tables(model: ReadModel) -> frozenset[str]:
    """Names as Postgres prints them: with the schema, unless it is the default one."""
    found = visitors.iterate(maintained(model).select)
    return frozenset(element.fullname for element in found if isinstance(element, Table))
