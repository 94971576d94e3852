"""Groups made to go wrong: keys over nullable sides, joins that find several rows, conditions that are null.

Each says in one line what it is there to catch.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import BigInteger, Integer, Numeric, and_, case, cast, func, not_, or_, select

from projections.read_model import ReadModel
from tests.oracle.grouped_views import grouped
from tests.oracle.schema import c, d, m, p, t, u, x, y

x1, x2, d2 = x.alias("ax1"), x.alias("ax2"), d.alias("ad2")
C = "C"

LEFT_KEYED_BY_TWO = grouped(
    "left_keyed_by_two",
    select(
        func.coalesce(y.c.label, "none").label("label"),
        func.coalesce(x.c.name, "none").label("name"),
        func.count().label("rows"),
        func.count(y.c.code).label("codes"),
        func.sum(func.coalesce(y.c.code, 10) * d.c.value).label("weighted"),
        func.max(func.coalesce(x.c.id, 99)).label("most"),
        func.min(d.c.value).filter(x.c.id.is_(None)).label("least_alone"),
    )
    .join_from(d, y, and_(d.c.y1 == y.c.id1, d.c.y2 == y.c.id2, y.c.code > 0, d.c.value >= 0), isouter=True)
    .join(x, and_(d.c.x_id == x.c.id, x.c.region == "eu"), isouter=True)
    .group_by(func.coalesce(y.c.label, "none"), func.coalesce(x.c.name, "none")),
    "label",
    "name",
)
"""Two nullable sides in one key, by a composite key and with conditions of both sides in ON; values of absent rows."""

LEFT_NOT_NULL_KEY = grouped(
    "left_not_null_key",
    select(x.c.region, func.count().label("rows"), func.count(d.c.note.distinct()).label("notes"))
    .join_from(d, x, d.c.x_id == x.c.id, isouter=True)
    .where(x.c.region.is_not(None))
    .group_by(x.c.region),
    "region",
)
"""A nullable key of a nullable side, of which a WHERE keeps the values."""

LEFT_BY_UNIQUE = grouped(
    "left_by_unique",
    select(
        d.c.id,
        func.count(y.c.label).label("labels"),
        func.bool_and(y.c.code > 0).label("all_over"),
        func.bool_or(y.c.code.is_(None)).label("any_absent"),
    )
    .join_from(d, y, d.c.value == y.c.code, isouter=True)
    .group_by(d.c.id),
    "id",
)
"""A left join by a unique column that isn't the key: its row is another one from commit to commit."""

ANTI = grouped(
    "anti_group",
    select(
        x.c.name,
        func.count().label("rows"),
        func.sum(x.c.id).label("ids"),
        func.max(x.c.region.collate(C)).label("region"),
    )
    .join_from(x, d, d.c.x_id == x.c.id, isouter=True)
    .where(d.c.id.is_(None))
    .group_by(x.c.name),
    "name",
)
"""An anti-join that may find several rows: the group counts only those without a partner."""

LEFT_MANY_BOTH_NULL = grouped(
    "left_many_both_null",
    select(
        d.c.value,
        func.count().label("rows"),
        func.count(x.c.id).label("xs"),
        func.count(x.c.name.distinct()).label("names"),
        func.min(x.c.id).label("least"),
        func.count().filter(x.c.id.is_(None)).label("alone"),
    )
    .join_from(d, x, and_(x.c.parent_id == d.c.x_id, x.c.region == "eu"), isouter=True)
    .group_by(d.c.value),
    "value",
)
"""A left join that finds several by a column that is nullable on both sides, with a nullable condition of its own."""

LEFT_MANY_COMPOSITE = grouped(
    "left_many_composite",
    select(
        y.c.id1,
        y.c.id2,
        func.count(d.c.id).label("ds"),
        func.sum(d.c.amount).label("amounts"),
        func.bool_or(d.c.flag).label("any_flag"),
    )
    .join_from(y, d, and_(d.c.y1 == y.c.id1, d.c.y2 == y.c.id2, d.c.flag.is_not(False)), isouter=True)
    .group_by(y.c.id1, y.c.id2),
    "id1",
    "id2",
)
"""The same by two nullable columns, from the side with the composite key."""

LEFT_MANY_TWICE = grouped(
    "left_many_twice",
    select(
        x.c.id,
        func.count().label("rows"),
        func.count(d.c.id.distinct()).label("ds"),
        func.count(t.c.tag.distinct()).label("tags"),
        func.sum(d.c.value).label("repeated"),
    )
    .join_from(x, d, d.c.x_id == x.c.id, isouter=True)
    .join(t, t.c.x_id == x.c.id, isouter=True)
    .group_by(x.c.id),
    "id",
)
"""Two left joins that each find several: they multiply, and each extends the other's rows."""

LEFT_MANY_CHAIN = grouped(
    "left_many_chain",
    select(
        x.c.id,
        func.count().label("rows"),
        func.count(d.c.id).label("ds"),
        func.count(m.c.tag).label("links"),
        func.max(m.c.weight).label("heaviest"),
    )
    .join_from(x, d, d.c.x_id == x.c.id, isouter=True)
    .join(m, m.c.d_id == d.c.id, isouter=True)
    .group_by(x.c.id),
    "id",
)
"""A left join that finds several, on a left join that finds several."""

SELF_LEFT_MANY = grouped(
    "self_left_many",
    select(
        x1.c.id,
        func.count().label("rows"),
        func.count(x2.c.id).label("children"),
        func.max(x2.c.name.collate(C)).label("last"),
    )
    .join_from(x1, x2, x2.c.parent_id == x1.c.id, isouter=True)
    .group_by(x1.c.id),
    "id",
)
"""A table left-joined to its own children: one row's change is on both sides."""

SELF_THREE = grouped(
    "self_three",
    select(x1.c.name, func.count().label("rows"), func.sum(x.c.id + x2.c.id).label("ids"))
    .join_from(x1, x2, x2.c.parent_id == x1.c.id)
    .join(x, x.c.parent_id == x1.c.id)
    .group_by(x1.c.name),
    "name",
)
"""Three times one table: the third-order term."""

SELF_LEFT = grouped(
    "self_left_sum",
    select(d.c.value, func.count().label("rows"), func.sum(d2.c.value).label("others"))
    .join_from(d, d2, d.c.other_x_id == d2.c.id, isouter=True)
    .where(or_(d2.c.value != 0, d2.c.id.is_(None), d.c.flag))
    .group_by(d.c.value),
    "value",
)
"""A row that is its own partner, and a filter over both sides that absent ones pass."""

KNOWN = grouped(
    "known",
    select(
        d.c.note,
        d.c.flag,
        func.count().label("rows"),
        func.avg(d.c.big).label("mean"),
        func.min(d.c.big).label("least"),
        func.avg(d.c.value).label("mean_value"),
    )
    .where(d.c.note.is_not(None), d.c.flag.is_not(None))
    .group_by(d.c.note, d.c.flag),
    "flag",
    "note",
)
"""Nullable keys, one of them boolean, whose values WHERE keeps; averages of large integers."""

FILTERED_NULLS = grouped(
    "filtered_nulls",
    select(
        (d.c.value > 0).label("positive"),
        func.count().filter(and_(d.c.value >= 0, d.c.id > 0)).label("both"),
        func.count().filter(or_(d.c.flag, d.c.amount > 0)).label("either"),
        func.count().filter(not_(d.c.flag)).label("unflagged"),
        func.sum(d.c.amount).filter(d.c.amount > 100).label("never"),
        func.sum(-d.c.value).label("minus"),
        func.sum(d.c.value - d.c.id).label("less"),
        func.sum(case((d.c.flag, d.c.value), (d.c.value > 0, 1))).label("cases"),
        func.bool_and(or_(d.c.flag, d.c.value > 0)).label("every"),
        func.max(d.c.amount).filter(d.c.note.is_(None)).label("silent"),
        func.avg(d.c.amount).filter(d.c.flag).label("mean_flagged"),
    ).group_by(d.c.value > 0),
    "positive",
)
"""A group that is a comparison; FILTER that is null, never true, or several terms; signs inside sums."""

HAVING_OR = grouped(
    "having_or",
    select(d.c.value, func.sum(d.c.amount).label("total"))
    .group_by(d.c.value)
    .having(or_(func.count() > 2, func.bool_or(d.c.flag), func.sum(d.c.amount) > 5, d.c.value == 7)),
    "value",
)
"""HAVING over null aggregates and the key, none of which is selected."""

MIXED_SCALES = grouped(
    "mixed_scales",
    select(
        (d.c.value % 2).label("half"),
        func.sum(d.c.amount + d.c.value).label("a"),
        func.sum(d.c.amount * d.c.amount, type_=Numeric(18, 4)).label("b"),
        func.sum(case((d.c.flag, d.c.amount), else_=cast(d.c.value, Numeric(12, 3))), type_=Numeric(18, 3)).label("c"),
        func.avg(d.c.amount * Decimal("0.5")).label("e"),
        func.min(func.coalesce(d.c.amount, d.c.value)).label("f"),
        (func.sum(d.c.amount) * func.count() - func.sum(d.c.value)).label("g"),
        cast(func.sum(d.c.amount), Numeric(12, 0)).label("whole"),
    ).group_by(d.c.value % 2),
    "half",
)
"""Numerics of several scales in one aggregate, and arithmetic over aggregates."""

ACROSS_DISTINCT = grouped(
    "across_distinct",
    select(
        x.c.id,
        func.count(t.c.title.distinct()).label("titles"),
        func.count(m.c.weight.distinct()).filter(d.c.flag).label("weights"),
        func.count((d.c.value + m.c.weight).distinct()).label("sums"),
        func.max(m.c.weight + x.c.id).label("most"),
    )
    .join_from(d, x, d.c.x_id == x.c.id)
    .join(m, m.c.d_id == d.c.id)
    .join(t, t.c.tag == m.c.tag)
    .group_by(x.c.id),
    "id",
)
"""Distinct values that repeat because of the join, and values of two tables at once."""

CHILD_ROWS = grouped(
    "child_rows",
    select(
        p.c.id,
        p.c.name,
        func.count(c.c.id).label("cs"),
        func.count().label("rows"),
        func.sum(c.c.value).label("values"),
    )
    .join_from(p, c, c.c.p_id == p.c.id, isouter=True)
    .group_by(p.c.id, p.c.name),
    "id",
    "name",
)
"""Children by a foreign key that the database keeps; one part of the key decides the other, and it is renamed."""

BYTES = grouped(
    "of_uuid",
    select(
        u.c.kind,
        func.count(cast(u.c.id, type_=d.c.note.type).distinct()).label("ids"),
        func.count(u.c.d_id).label("ds"),
        func.count(u.c.payload).label("payloads"),
        func.sum(cast(u.c.d_id, BigInteger)).label("sum"),
        func.sum(cast(u.c.payload.is_(None), Integer)).label("empty"),
    ).group_by(u.c.kind),
    "kind",
)
"""A table keyed by uuid, bytes that are only counted."""

ADVERSE_GROUPS: tuple[ReadModel, ...] = tuple(v for v in list(globals().values()) if isinstance(v, ReadModel))
