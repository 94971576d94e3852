"""Read models with grouped subqueries, correlated ones, and documents, over the colliding schema.

Each says in one line what it is there to catch.
"""

from __future__ import annotations

from sqlalchemy import and_, func, select

from projections.documents import embedded
from projections.read_model import ReadModel
from tests.oracle.grouped_views import grouped
from tests.oracle.schema import d, m, t, x

x1 = x.alias("gx1")
C = "C"

_per_x = (
    select(d.c.x_id, func.count().label("n"), func.coalesce(func.sum(d.c.amount), 0).label("total"))
    .group_by(d.c.x_id)
    .subquery("per_x")
)
WITH_GROUP = grouped(
    "with_group",
    select(x.c.id, x.c.name, _per_x.c.n, _per_x.c.total, func.coalesce(_per_x.c.n, 0).label("count")).join_from(
        x, _per_x, _per_x.c.x_id == x.c.id, isouter=True
    ),
    "id",
)
"""A left join with a grouped subquery, null or zero where it found no group."""

_big = (
    select(d.c.x_id, func.count().label("n"), func.min(d.c.value).label("least"))
    .where(d.c.value >= 0)
    .group_by(d.c.x_id)
    .having(func.count() > 1)
    .subquery("big")
)
WITH_SOME = grouped(
    "with_some",
    select(x.c.id, x.c.name, _big.c.n, _big.c.least).join_from(x, _big, _big.c.x_id == x.c.id).where(_big.c.least < 7),
    "id",
)
"""An inner join with a subquery that has HAVING, and a WHERE on its aggregate."""

WITH_SOME_LEFT = grouped(
    "with_some_left",
    select(x.c.id, x.c.name, _big.c.n, _big.c.least).join_from(
        x, _big, and_(_big.c.x_id == x.c.id, _big.c.least < 7), isouter=True
    ),
    "id",
)
"""The same as a left join: HAVING and the condition decide whether there is a partner."""

CORRELATED = grouped(
    "correlated",
    select(
        x.c.id,
        x.c.name,
        select(func.count()).where(d.c.x_id == x.c.id).scalar_subquery().label("ds"),
        select(func.sum(d.c.amount)).where(d.c.x_id == x.c.id).scalar_subquery().label("total"),
        select(func.count()).where(d.c.other_x_id == x.c.id, d.c.value > 0).scalar_subquery().label("others"),
        func.coalesce(
            select(func.max(m.c.weight))
            .join_from(m, d, m.c.d_id == d.c.id)
            .where(d.c.x_id == x.c.id)
            .scalar_subquery(),
            -1,
        ).label("heaviest"),
    ),
    "id",
)
"""Correlated scalar subqueries, two of one group, one over a join."""

MOVING_PARENT = ReadModel(
    name="moving_parent",
    select=select(
        x.c.name,
        x.c.id,
        select(func.count()).where(and_(d.c.x_id == x.c.id, d.c.flag)).scalar_subquery().label("ds"),
    ).where(x.c.region.is_not(None)),
    partition_key=("name",),
    clustering_key=("id",),
)
"""The row with the count moves and is filtered while the count changes."""

_per_value = (
    select(d.c.value, d.c.x_id, func.count().label("n"), func.max(d.c.id).label("last"))
    .group_by(d.c.value, d.c.x_id)
    .subquery("per_value")
)
NESTED = grouped(
    "nested",
    select(
        x.c.name,
        func.sum(_per_value.c.n).label("rows"),
        func.count().label("groups"),
        func.sum(_per_value.c.last).label("lasts"),
    )
    .join_from(x, _per_value, _per_value.c.x_id == x.c.id)
    .group_by(x.c.name),
    "name",
)
"""A group of groups."""

_per_known = (
    select(d.c.value, d.c.x_id, func.count().label("n"), func.max(d.c.id).label("last"))
    .where(d.c.x_id.is_not(None))
    .group_by(d.c.value, d.c.x_id)
    .subquery("per_known")
)
NESTED_FILTERED = grouped(
    "nested_filtered",
    select(
        _per_known.c.value,
        func.count().label("groups"),
        func.count().filter(_per_known.c.n > 1).label("large"),
    )
    .where(_per_known.c.last > 0)
    .group_by(_per_known.c.value),
    "value",
)
"""A group of groups that are filtered by their aggregate."""

DOCUMENTS = grouped(
    "documents",
    select(
        x.c.id,
        x.c.name,
        *embedded(
            "ds",
            select(d.c.id, d.c.note, d.c.amount, d.c.at, d.c.day, d.c.flag, (d.c.value + 1).label("more"))
            .where(d.c.x_id == x.c.id, d.c.value >= 0)
            .order_by(d.c.seen.desc(), d.c.id),
            bound=2,
        ),
        *embedded(
            "tags",
            select(t.c.title, m.c.tag, x1.c.name.label("of"))
            .join_from(m, t, t.c.tag == m.c.tag)
            .join(x1, x1.c.id == t.c.x_id, isouter=True)
            .where(m.c.d_id == x.c.id)
            .order_by(m.c.weight.desc(), m.c.tag.collate(C)),
            bound=1,
        ),
    ),
    "id",
)
"""Documents cut at their bound, ordered with nulls; rows over a join and a left join."""

DOCUMENT_OF_GROUP = grouped(
    "document_of_group",
    select(
        x.c.id,
        _per_x.c.n,
        select(func.sum(d.c.value)).where(d.c.x_id == x.c.id).scalar_subquery().label("total"),
        *embedded("ds", select(d.c.id, d.c.big).where(d.c.x_id == x.c.id).order_by(d.c.id.desc()), bound=1),
    ).join_from(x, _per_x, _per_x.c.x_id == x.c.id),
    "id",
)
"""A document beside aggregates of the same rows."""

SUBQUERY_VIEWS: tuple[ReadModel, ...] = tuple(v for v in list(globals().values()) if isinstance(v, ReadModel))
