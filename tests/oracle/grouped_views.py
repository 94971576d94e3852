"""Read models with GROUP BY, over the colliding schema.

Each says in one line what it is there to catch.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import BigInteger, Date, Integer, Numeric, Text, and_, case, cast, func, select

from projections.read_model import ReadModel
from tests.oracle.schema import c, d, m, p, t, u, x, y

x1, x2 = x.alias("gx1"), x.alias("gx2")
C = "C"


def grouped(name: str, query: object, *key: str) -> ReadModel:
    """A read model whose first key column is its partition key."""
    return ReadModel(name=name, select=query, partition_key=key[:1], clustering_key=key[1:])  # type: ignore[arg-type]


SUMS = grouped(
    "sums",
    select(
        d.c.value,
        func.count().label("rows"),
        func.count(d.c.big).label("bigs"),
        func.sum(d.c.x_id).label("xs"),
        func.sum(d.c.amount).label("amounts"),
        func.avg(d.c.amount).label("mean"),
        func.avg(d.c.id).label("mean_id"),
        cast(func.avg(d.c.amount), Numeric(12, 1)).label("rounded"),
        (func.sum(d.c.id) + func.count()).label("mixed"),
    ).group_by(d.c.value),
    "value",
)
"""Linear aggregates with nulls; a group's key that changes; average's digits."""

_remark = func.coalesce(func.nullif(d.c.note, "", type_=Text), "none")  # Cassandra has no empty partition key
FILTERS = grouped(
    "filters",
    select(
        _remark.label("remark"),
        func.count().filter(d.c.flag).label("flagged"),
        func.count(d.c.amount).filter(d.c.value > 0).label("amounts"),
        func.sum(d.c.value).filter(d.c.flag.is_not(None)).label("sum_flagged"),
        func.sum(case((d.c.value == 0, 1), else_=0)).label("zeros"),
        func.sum(case((d.c.value == 7, d.c.amount))).label("sevens"),
        func.bool_and(d.c.flag).label("all_flags"),
        func.bool_or(d.c.flag).label("any_flag"),
        func.bool_and(d.c.value > 0).label("all_positive"),
    ).group_by(_remark),
    "remark",
)
"""FILTER and CASE; booleans that are null; a computed group key."""

EXTREMES = grouped(
    "extremes",
    select(
        d.c.value,
        func.min(d.c.amount).label("least"),
        func.max(d.c.amount).label("most"),
        func.max(d.c.at).label("latest"),
        func.min(d.c.day).label("first_day"),
        func.min(d.c.note.collate(C)).label("first_note"),
        func.max(d.c.id).filter(d.c.flag).label("last_flagged"),
        func.min(d.c.id).label("least_id"),
    ).group_by(d.c.value),
    "value",
)
"""Minima and maxima under deletes, with nulls and infinities."""

DISTINCTS = grouped(
    "distincts",
    select(
        d.c.value,
        func.count(d.c.note.distinct()).label("notes"),
        func.count(d.c.x_id.distinct()).filter(d.c.flag).label("flagged"),
        func.count().label("rows"),
    ).group_by(d.c.value),
    "value",
)
"""Values that come and go while others equal to them stay."""

HAVING = grouped(
    "having",
    select(d.c.value, func.count().label("rows"), func.max(d.c.id).label("last"))
    .where(d.c.big.is_distinct_from(0))
    .group_by(d.c.value)
    .having(and_(func.count() > 1, func.max(d.c.id) > 0)),
    "value",
)
"""Groups that come and go by their aggregate within one batch."""

BY_DAY = grouped(
    "by_day",
    select(
        func.date_trunc("day", d.c.at).label("at_day"),
        cast(d.c.at, Date).label("day"),
        (d.c.value // 2).label("bucket"),
        func.count().label("rows"),
    )
    .where(d.c.value.is_not(None))
    .group_by("at_day", cast(d.c.at, Date), d.c.value // 2),
    "at_day",
    "day",
    "bucket",
)
"""Computed keys: a truncated time, a date, a bucket."""

OF_PARENT = grouped(
    "of_parent",
    select(
        x.c.name,
        func.count().label("rows"),
        func.sum(d.c.value).label("total"),
        func.max(d.c.value).label("most"),
        func.count(d.c.value.distinct()).label("values"),
    )
    .join_from(d, x, d.c.x_id == x.c.id)
    .group_by(x.c.name),
    "name",
)
"""N:1: the group is a column of the joined table, so its rename moves rows between groups."""

SELF_GROUP = grouped(
    "self_group",
    select(x1.c.name, func.count().label("pairs"), func.sum(x2.c.id).label("ids"))
    .join_from(x1, x2, x1.c.parent_id == x2.c.parent_id)
    .group_by(x1.c.name),
    "name",
)
"""A table joined to itself: both sides have the same images."""

MANY = grouped(
    "many",
    select(t.c.title, func.count().label("links"), func.sum(m.c.weight * d.c.value).label("weighted"))
    .join_from(d, m, m.c.d_id == d.c.id)
    .join(t, t.c.tag == m.c.tag)
    .group_by(t.c.title),
    "title",
)
"""M:N over three tables, with a product of columns of two."""

LEFT_ONE = grouped(
    "left_one",
    select(
        func.coalesce(x.c.region, "none").label("region"),
        func.count().label("rows"),
        func.count(x.c.id).label("with_x"),
        func.sum(x.c.id).label("ids"),
    )
    .join_from(d, x, d.c.x_id == x.c.id, isouter=True)
    .group_by(func.coalesce(x.c.region, "none")),
    "region",
)
"""A left join that finds at most one row, in the key and in the aggregates."""

LEFT_MANY = grouped(
    "left_many",
    select(
        x.c.id,
        func.count().label("rows"),
        func.count(d.c.id).label("ds"),
        func.sum(d.c.value).label("total"),
        func.max(d.c.value).label("most"),
        func.bool_or(d.c.flag).label("flag"),
    )
    .join_from(x, d, and_(d.c.x_id == x.c.id, d.c.value >= 0), isouter=True)
    .group_by(x.c.id),
    "id",
)
"""A left join that finds several rows: the null-extended one goes when the first comes."""

LEFT_CHAIN = grouped(
    "left_group_chain",
    select(
        d.c.value,
        func.count(x1.c.id).label("ones"),
        func.count(x2.c.id).label("twos"),
        func.sum(x2.c.id).label("ids"),
    )
    .join_from(d, x1, d.c.x_id == x1.c.id, isouter=True)
    .join(x2, x1.c.parent_id == x2.c.id, isouter=True)
    .group_by(d.c.value),
    "value",
)
"""A left join of a left join, with one table twice."""

CHILDREN = grouped(
    "children",
    select(
        p.c.kind,
        func.count().label("cs"),
        func.sum(c.c.value).label("values"),
        func.max(p.c.name.collate(C)).label("last"),
    )
    .join_from(c, p, c.c.p_id == p.c.id)
    .group_by(p.c.kind),
    "kind",
)
"""A join by a foreign key that the database keeps, cascades included."""

PAIRS = grouped(
    "pairs",
    select(y.c.label, cast(u.c.id, Text).label("u_id"), func.count().label("rows"), func.min(y.c.code).label("least"))
    .join_from(d, y, and_(d.c.y1 == y.c.id1, d.c.y2 == y.c.id2))
    .join(u, u.c.d_id == d.c.id)
    .where(d.c.value.in_([0, 1, 7]), u.c.kind.in_(["k", "j"]))
    .group_by(y.c.label, u.c.id),
    "label",
    "u_id",
)
"""Composite keys joined, conditions on several tables."""

BIG_SUMS = grouped(
    "big_sums",
    select(
        func.coalesce(cast(d.c.flag, Integer), 2).label("flag"),
        func.sum(d.c.big).label("bigs"),
        func.sum(cast(d.c.value, BigInteger) * 3).label("threes"),
        cast(func.sum(d.c.amount * Decimal("1.5")), Numeric(14, 3)).label("half_more"),
        func.avg(d.c.big).label("mean"),
    ).group_by(func.coalesce(cast(d.c.flag, Integer), 2)),
    "flag",
)
"""Sums of large integers and of products."""

GROUPED_VIEWS: tuple[ReadModel, ...] = tuple(v for v in list(globals().values()) if isinstance(v, ReadModel))
