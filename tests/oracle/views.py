"""Read models that together use every construct that the compile accepts, over the colliding schema.

Each says in one line what it is there to catch. `VIEWS` are these; `MODELS` has the reference application's as well.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Date,
    DateTime,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    not_,
    or_,
    select,
)

from projections import INCREMENTAL
from projections.read_model import ReadModel, descending
from tests.oracle.adverse_groups import ADVERSE_GROUPS
from tests.oracle.adverse_subqueries import ADVERSE_SUBQUERIES
from tests.oracle.grouped_views import GROUPED_VIEWS
from tests.oracle.schema import c, d, m, p, t, u, x, y
from tests.oracle.subquery_views import SUBQUERY_VIEWS

x1, x2, x3 = x.alias("x1"), x.alias("x2"), x.alias("x3")
d2 = d.alias("d2")
C = "C"

PLAIN = ReadModel(
    name="plain",
    select=select(d.c.id, d.c.value, d.c.big, d.c.amount, d.c.note, d.c.at, d.c.seen, d.c.day, d.c.flag),
    partition_key=("id",),
)
"""Every column kind passed through, nulls and infinities too."""

MOVING = ReadModel(
    name="moving",
    select=select(d.c.value, d.c.at, d.c.id, d.c.note.label("remark")),
    partition_key=("value",),
    clustering_key=(descending("at"), "id"),
)
"""Key columns that change."""

FILTERED = ReadModel(
    name="filtered",
    select=select(d.c.id, d.c.value, d.c.note).where(
        or_(d.c.value.between(0, 1), not_(d.c.flag), d.c.note.like("A%"), d.c.note.not_like("%\\%\\_")),
        d.c.value.in_([-1, 0, 7]) | d.c.amount.is_(None),
        d.c.big.is_distinct_from(0),
    ),
    partition_key=("id",),
)
"""WHERE on one table with nulls in every term."""

NEGATED = ReadModel(
    name="negated",
    select=select(d.c.id, d.c.value).where(
        not_(and_(d.c.value == 0, d.c.flag)),
        d.c.value.not_in([7]),
        not_(d.c.amount.between(Decimal(0), Decimal("5.5"))),
        d.c.x_id != 1,
    ),
    partition_key=("id",),
)
"""Negations, where NULL is neither."""

INNER = ReadModel(
    name="inner_join",
    select=select(x.c.name, d.c.id, d.c.value, x.c.region).join_from(d, x, d.c.x_id == x.c.id),
    partition_key=("name",),
    clustering_key=("id",),
)
"""N:1 without a constraint: either side moves and removes rows."""

INNER_SLIM = ReadModel(
    name="inner_slim",
    select=select(d.c.id, x.c.name).join_from(d, x, d.c.x_id == x.c.id).where(x.c.region == "eu"),
    partition_key=("id",),
)
"""A filter on the joined side decides whether a row is there."""

CONSTRAINED = ReadModel(
    name="constrained",
    select=select(c.c.value, c.c.id, p.c.name).join_from(c, p, c.c.p_id == p.c.id),
    partition_key=("value",),
    clustering_key=("id",),
)
"""A parent that a foreign key keeps there."""

CONSTRAINED_FILTERED = ReadModel(
    name="constrained_filtered",
    select=select(p.c.kind, c.c.id, c.c.value, p.c.name).join_from(c, p, c.c.p_id == p.c.id).where(p.c.name != "o"),
    partition_key=("kind",),
    clustering_key=("id",),
)
"""The same parent, in the key and in the filter."""

CONSTRAINED_CHILDREN = ReadModel(
    name="constrained_children",
    select=select(p.c.id, c.c.id.label("c_id"), p.c.name, c.c.value)
    .join_from(p, c, c.c.p_id == p.c.id)
    .where(c.c.value == 1),
    partition_key=("id",),
    clustering_key=("c_id",),
)
"""From the parent to its children."""

LEFT = ReadModel(
    name="left_join",
    select=select(d.c.id, d.c.value, x.c.name, func.coalesce(x.c.region, "none").label("region")).join_from(
        d, x, d.c.x_id == x.c.id, isouter=True
    ),
    partition_key=("id",),
)
"""A left join whose partner is no part of the key."""

LEFT_KEY = ReadModel(
    name="left_key",
    select=select(func.coalesce(x.c.region, "none").label("region"), d.c.id, d.c.value).join_from(
        d, x, d.c.x_id == x.c.id, isouter=True
    ),
    partition_key=("region",),
    clustering_key=("id",),
)
"""A key that depends on a nullable side: it moves when the partner comes, goes, or changes."""

LEFT_ABSENT = ReadModel(
    name="left_absent",
    select=select(d.c.id, d.c.value).join_from(d, x, d.c.x_id == x.c.id, isouter=True).where(x.c.id.is_(None)),
    partition_key=("id",),
)
"""An anti-join: a row is there because its partner is not."""

LEFT_MAYBE = ReadModel(
    name="left_maybe",
    select=select(func.coalesce(x.c.name, "none").label("name"), d.c.id)
    .join_from(d, x, and_(d.c.x_id == x.c.id, x.c.region == "eu", d.c.value >= 0), isouter=True)
    .where(or_(x.c.name.is_(None), x.c.name == "n", d.c.value == 0)),
    partition_key=("name",),
    clustering_key=("id",),
)
"""Conditions of its own in ON, and a filter across both sides."""

LEFT_CHAIN = ReadModel(
    name="left_chain",
    select=select(
        func.coalesce(x2.c.name, "-").label("upper_name"),
        func.coalesce(x1.c.region, "-").label("region"),
        d.c.id,
        x1.c.name,
    )
    .join_from(d, x1, d.c.x_id == x1.c.id, isouter=True)
    .join(x2, x1.c.parent_id == x2.c.id, isouter=True),
    partition_key=("upper_name",),
    clustering_key=("region", "id"),
)
"""A left join that hangs on a left join of the same table, both in the key."""

LEFT_TWICE = ReadModel(
    name="left_twice",
    select=select(
        func.coalesce(x1.c.region, "-").label("a"),
        func.coalesce(x2.c.region, "-").label("b"),
        d.c.id,
        x2.c.name.label("other"),
    )
    .join_from(d, x1, d.c.x_id == x1.c.id, isouter=True)
    .join(x2, d.c.other_x_id == x2.c.id, isouter=True),
    partition_key=("a",),
    clustering_key=("b", "id"),
)
"""Two nullable sides of one table in one key."""

LEFT_INNER = ReadModel(
    name="left_inner",
    select=select(y.c.label, func.coalesce(x.c.name, "-").label("name"), d.c.id)
    .join_from(d, y, and_(d.c.y1 == y.c.id1, d.c.y2 == y.c.id2))
    .join(x, d.c.x_id == x.c.id, isouter=True),
    partition_key=("label",),
    clustering_key=("name", "id"),
)
"""An inner join by a composite key beside a left join."""

LEFT_TO_INNER = ReadModel(
    name="left_to_inner",
    select=select(x.c.name, d.c.id)
    .join_from(d, x, d.c.x_id == x.c.id, isouter=True)
    .where(x.c.name < literal("o").collate(C)),
    partition_key=("name",),
    clustering_key=("id",),
)
"""A left join that its own filter makes an inner one."""

LEFT_COMPOSITE = ReadModel(
    name="left_composite",
    select=select(func.coalesce(y.c.code, 99).label("code"), d.c.id, y.c.label).join_from(
        d, y, and_(d.c.y1 == y.c.id1, d.c.y2 == y.c.id2), isouter=True
    ),
    partition_key=("code",),
    clustering_key=("id",),
)
"""A nullable side found by a composite key."""

UNIQUE = ReadModel(
    name="by_unique",
    select=select(d.c.id, y.c.label, y.c.id2).join_from(d, y, d.c.value == y.c.code),
    partition_key=("id",),
)
"""A partner found by a unique column that isn't its primary key."""

SELF = ReadModel(
    name="self_join",
    select=select(x1.c.id, x1.c.name, x2.c.name.label("parent_name"), x2.c.region.label("parent_region")).join_from(
        x1, x2, x1.c.parent_id == x2.c.id
    ),
    partition_key=("id",),
)
"""A table joined to itself; one batch may change both ends."""

SELF_KEY = ReadModel(
    name="self_key",
    select=select(x2.c.name.label("parent_name"), x1.c.id, x1.c.name).join_from(x1, x2, x1.c.parent_id == x2.c.id),
    partition_key=("parent_name",),
    clustering_key=("id",),
)
"""The same with the key on the other end."""

SELF_THRICE = ReadModel(
    name="self_thrice",
    select=select(x3.c.name.label("top"), x1.c.id, x2.c.name.label("middle"))
    .join_from(x1, x2, x1.c.parent_id == x2.c.id)
    .join(x3, x2.c.parent_id == x3.c.id),
    partition_key=("top",),
    clustering_key=("id",),
)
"""Three occurrences."""

SELF_MANY = ReadModel(
    name="self_many",
    select=select(d.c.value, d.c.id, d2.c.id.label("other_id"), d2.c.note)
    .join_from(d, d2, d.c.value == d2.c.value)
    .where(d.c.id != d2.c.id),
    partition_key=("value",),
    clustering_key=("id", "other_id"),
)
"""N:M of a table with itself."""

LINKED = ReadModel(
    name="linked",
    select=select(m.c.tag, d.c.id, t.c.title, d.c.value, m.c.weight)
    .join_from(d, m, m.c.d_id == d.c.id)
    .join(t, t.c.tag == m.c.tag),
    partition_key=("tag",),
    clustering_key=("id",),
)
"""M:N through a link table."""

LINKED_FAR = ReadModel(
    name="linked_far",
    select=select(func.coalesce(x.c.region, "-").label("region"), d.c.id, t.c.tag, t.c.title)
    .join_from(d, m, m.c.d_id == d.c.id)
    .join(t, t.c.tag == m.c.tag)
    .join(x, x.c.id == t.c.x_id, isouter=True)
    .where(d.c.value > 0, m.c.weight == 1),
    partition_key=("region",),
    clustering_key=("id", "tag"),
)
"""A far end's column in the key, filters on two other tables."""

CROSSED = ReadModel(
    name="crossed",
    select=select(d.c.value, d.c.id, m.c.d_id, m.c.tag).where(d.c.value == m.c.weight, d.c.id >= m.c.d_id),
    partition_key=("value",),
    clustering_key=("id", "d_id", "tag"),
)
"""FROM a, b WHERE: the join stands in the filter, with an inequality between tables."""

TRIANGLE = ReadModel(
    name="triangle",
    select=select(x.c.id, d.c.id.label("d_id"), u.c.id.label("u_id"), u.c.payload)
    .join_from(d, x, d.c.x_id == x.c.id)
    .join(u, and_(u.c.d_id == d.c.id, u.c.d_id == x.c.id))
    .where(or_(u.c.kind == "k", x.c.region == "eu", d.c.flag)),
    partition_key=("id",),
    clustering_key=("d_id", "u_id"),
)
"""Three tables linked in a ring, a filter over all of them."""

COMPUTED = ReadModel(
    name="computed",
    select=select(
        d.c.id,
        (d.c.value * 2 + 1).label("sum"),
        (d.c.value // 2).label("half"),
        (d.c.value % 3).label("rest"),
        (-d.c.value).label("minus"),
        func.abs(d.c.value, type_=Integer).label("size"),
        (d.c.amount * d.c.value).label("total"),
        cast(d.c.amount * 2 - d.c.value, Numeric(18, 1)).label("rounded"),
        func.coalesce(d.c.note, "?").label("note"),
        func.nullif(d.c.value, 0, type_=Integer).label("nonzero"),
        case((d.c.value > 0, "up"), (d.c.value < 0, "down"), else_=None).label("sign"),
        case((d.c.flag, d.c.value), else_=0).label("counted"),
        (d.c.note + "/" + cast(d.c.value, Text)).label("path"),
        func.lower(d.c.note.collate(C), type_=Text).label("low"),
        func.upper(d.c.note.collate(C), type_=Text).label("up"),
        func.length(d.c.note, type_=Integer).label("len"),
        cast(d.c.amount, Text).label("amount_text"),
        cast(d.c.amount, Integer).label("amount_int"),
        cast(d.c.flag, Text).label("flag_text"),
        cast(d.c.day, Text).label("day_text"),
        cast(d.c.value, BigInteger).label("wide"),
        (d.c.value > 0).label("positive"),
        d.c.note.is_(None).label("silent"),
    ),
    partition_key=("id",),
)
"""Computed columns of numbers and texts."""

DATES = ReadModel(
    name="dates",
    select=select(
        cast(d.c.at, Date).label("on_day"),
        func.date_trunc("month", d.c.at, type_=DateTime(timezone=True)).label("month"),
        d.c.id,
        cast(extract("year", d.c.at), Integer).label("year"),
        func.date_trunc("week", d.c.seen, type_=DateTime()).label("week"),
        cast(extract("isodow", d.c.at), Integer).label("weekday"),
        cast(extract("hour", d.c.at), Integer).label("hour"),
        cast(d.c.day, DateTime()).label("midnight"),
        (d.c.day < dt.date(2000, 1, 1)).label("old"),
    ).where(d.c.at >= dt.datetime(1900, 1, 1, tzinfo=dt.UTC)),
    partition_key=("on_day",),
    clustering_key=(descending("month"), "id"),
)
"""Dates computed, in the key and in the filter."""

COMPUTED_KEY = ReadModel(
    name="computed_key",
    select=select(
        case((d.c.value > 0, "up"), else_="down").label("sign"),
        func.lower(func.coalesce(d.c.note, "").collate(C), type_=Text).label("low"),
        (func.coalesce(d.c.x_id, -1) * 2).label("twice"),
        d.c.id,
    ).where(d.c.note.collate(C) > ""),
    partition_key=("sign", "low"),
    clustering_key=(descending("twice"), "id"),
)
"""Keys that are computed, over text in byte order."""

ACROSS = ReadModel(
    name="across",
    select=select((d.c.value + x.c.id).label("sum"), d.c.id, (x.c.name + func.coalesce(d.c.note, "")).label("text"))
    .join_from(d, x, d.c.x_id == x.c.id)
    .where(d.c.value + x.c.id > 0, or_(d.c.note == x.c.region, x.c.region.is_(None), d.c.flag.is_(True))),
    partition_key=("sum",),
    clustering_key=("id",),
)
"""Values, keys and filters computed from two tables."""

BY_UUID = ReadModel(
    name="by_uuid",
    select=select(u.c.id, u.c.kind, u.c.payload, d.c.note).join_from(u, d, u.c.d_id == d.c.id, isouter=True),
    partition_key=("id",),
)
"""uuid keys and bytes."""

VIEWS: tuple[ReadModel, ...] = (
    *(value for value in list(globals().values()) if isinstance(value, ReadModel)),
    *GROUPED_VIEWS,
    *SUBQUERY_VIEWS,
    *ADVERSE_GROUPS,
    *ADVERSE_SUBQUERIES,
)
APPLICATION: tuple[ReadModel, ...] = tuple(replace(model, fan_out=None) for model in INCREMENTAL)
"""The reference application's read models, every row of them copied: `tests.oracle.feeds` is about the others."""
MODELS: tuple[ReadModel, ...] = (*VIEWS, *APPLICATION)
