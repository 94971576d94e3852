"""Subqueries and documents made to go wrong: one table on both sides, links that are null or not unique.

Each says in one line what it is there to catch.
"""

from __future__ import annotations

from sqlalchemy import and_, case, func, or_, select

from projections.documents import embedded
from projections.read_model import ReadModel
from tests.oracle.grouped_views import grouped
from tests.oracle.schema import c, d, m, p, t, u, x, y

x1, d2, d3 = x.alias("bx1"), d.alias("bd2"), d.alias("bd3")
C = "C"

_totals = (
    select(d.c.x_id, func.count().label("n"), func.sum(d.c.value).label("total"), func.max(d.c.amount).label("most"))
    .group_by(d.c.x_id)
    .subquery("totals")
)
BESIDE = ReadModel(
    name="beside",
    select=select(d.c.value, d.c.id, _totals.c.n, (_totals.c.total - d.c.value).label("others"), _totals.c.most)
    .join_from(d, _totals, _totals.c.x_id == d.c.x_id)
    .where(or_(d.c.flag, _totals.c.n > 1)),
    partition_key=("value",),
    clustering_key=("id",),
)
"""Rows beside the group that they are part of: one change is in both; the link is null in some."""

BESIDE_LEFT = grouped(
    "beside_left",
    select(d.c.id, d.c.value, _totals.c.n, case((_totals.c.n > 1, "many"), else_="few").label("how")).join_from(
        d, _totals, and_(_totals.c.x_id == d.c.x_id, _totals.c.n < 3, d.c.value >= 0), isouter=True
    ),
    "id",
)
"""The same as a left join, with conditions on the aggregate and on the row itself."""

_other = _totals.alias("other_totals")
TWICE = grouped(
    "totals_twice",
    select(
        d.c.id,
        _totals.c.total,
        _other.c.total.label("other"),
        (func.coalesce(_totals.c.n, 0) + func.coalesce(_other.c.n, 0)).label("both"),
    )
    .join_from(d, _totals, _totals.c.x_id == d.c.x_id, isouter=True)
    .join(_other, _other.c.x_id == d.c.other_x_id, isouter=True),
    "id",
)
"""One grouped subquery under two aliases."""

CHAINED = ReadModel(
    name="chained",
    select=select(
        func.coalesce(x.c.name, "-").label("name"), d2.c.id, _totals.c.n, func.coalesce(x.c.region, "-").label("region")
    )
    .join_from(d2, x, d2.c.other_x_id == x.c.id, isouter=True)
    .join(_totals, _totals.c.x_id == x.c.parent_id, isouter=True),
    partition_key=("name",),
    clustering_key=("id",),
)
"""A grouped subquery on the right of a chain of left joins, whose middle is in the key."""

_tagged = (
    select(d3.c.x_id, m.c.tag, func.count().label("n"), func.max(m.c.weight).label("most"))
    .join_from(d3, m, m.c.d_id == d3.c.id)
    .where(d3.c.x_id.is_not(None))
    .group_by(d3.c.x_id, m.c.tag)
    .having(or_(func.count() > 1, func.max(m.c.weight) > 0))
    .subquery("tagged")
)
TAGGED = ReadModel(
    name="tagged",
    select=select(x.c.id, _tagged.c.tag, x.c.name, _tagged.c.n, t.c.title)
    .join_from(x, _tagged, _tagged.c.x_id == x.c.id)
    .join(t, t.c.tag == _tagged.c.tag, isouter=True),
    partition_key=("id",),
    clustering_key=("tag",),
)
"""Several groups a row: a part of the group's key is a key of its own, and HAVING with or."""

TAGGED_GROUPS = grouped(
    "tagged_groups",
    select(
        x.c.name,
        func.count().label("rows"),
        func.sum(_tagged.c.n).label("links"),
        func.sum(_tagged.c.most).filter(_tagged.c.n > 1).label("most"),
        func.count(_tagged.c.tag.distinct()).label("tags"),
        func.max(_tagged.c.tag.collate(C)).label("last"),
    )
    .join_from(x, _tagged, _tagged.c.x_id == x.c.id)
    .group_by(x.c.name),
    "name",
)
"""Groups of groups that HAVING lets through, with distinct values and extremes of their keys."""

LEFT_NESTED = grouped(
    "left_nested",
    select(
        x.c.name,
        func.count().label("rows"),
        func.count(_totals.c.n).label("with_totals"),
        func.sum(_totals.c.total).label("total"),
        func.sum(func.coalesce(_totals.c.n, 100)).label("n"),
    )
    .join_from(x, _totals, and_(_totals.c.x_id == x.c.id, _totals.c.n > 1), isouter=True)
    .group_by(x.c.name),
    "name",
)
"""A group over a left join with a group, whose aggregate decides whether there is a partner."""

OVER_SUBQUERY = grouped(
    "over_subquery",
    select(x.c.name, func.count().label("rows"), func.sum(x.c.id).label("ids"))
    .where(select(func.count()).where(d.c.x_id == x.c.id, d.c.value > 0).scalar_subquery() < 2)
    .group_by(x.c.name),
    "name",
)
"""A group whose WHERE counts other rows, so that none is a reason to be there."""

LOOSE = grouped(
    "loose_links",
    select(
        d.c.id,
        select(func.count()).where(m.c.weight == d.c.value).scalar_subquery().label("weights"),
        select(func.min(x.c.name.collate(C))).where(x.c.parent_id == d.c.x_id).scalar_subquery().label("first"),
        select(func.avg(d2.c.amount)).where(d2.c.value == d.c.value).scalar_subquery().label("mean"),
        select(func.bool_or(d2.c.flag)).where(d2.c.value == d.c.value).scalar_subquery().label("any"),
        (select(func.sum(d2.c.id)).where(d2.c.value == d.c.value).scalar_subquery() - d.c.id).label("rest"),
    ),
    "id",
)
"""Correlated by columns that are neither unique nor there in every row; over the table itself."""

LINKED_BY_TWO = ReadModel(
    name="linked_by_two",
    select=select(
        y.c.label,
        y.c.id1,
        y.c.id2,
        select(func.count(d.c.note.distinct()))
        .where(d.c.y1 == y.c.id1, d.c.y2 == y.c.id2)
        .scalar_subquery()
        .label("notes"),
    ).where(select(func.count()).where(d.c.y1 == y.c.id1, d.c.y2 == y.c.id2).scalar_subquery() > 0),
    partition_key=("label",),
    clustering_key=("id1", "id2"),
)
"""Correlated by two columns, and a WHERE by another count of the same rows."""

OF_ABSENT = grouped(
    "of_absent",
    select(
        d.c.id,
        x.c.name,
        select(func.count()).where(t.c.x_id == x.c.id).scalar_subquery().label("tags"),
        select(func.sum(x1.c.id)).where(x1.c.parent_id == x.c.id).scalar_subquery().label("children"),
    ).join_from(d, x, and_(d.c.x_id == x.c.id, x.c.region == "eu"), isouter=True),
    "id",
)
"""Correlated with the nullable side of a left join: zero and null where it is absent."""

CONSTRAINED_TOTALS = ReadModel(
    name="constrained_totals",
    select=select(
        p.c.kind,
        p.c.id,
        select(func.count()).where(c.c.p_id == p.c.id, c.c.value == 1).scalar_subquery().label("ones"),
        *embedded("cs", select(c.c.id, c.c.value).where(c.c.p_id == p.c.id).order_by(c.c.value, c.c.id), bound=1),
    ),
    partition_key=("kind",),
    clustering_key=("id",),
)
"""Children that cascade away with their parent, counted and listed, while the parent moves."""

THREE_TABLES = grouped(
    "document_of_three",
    select(
        d.c.id,
        *embedded(
            "links",
            select(m.c.tag, t.c.title, x.c.name, d2.c.value)
            .join_from(m, t, t.c.tag == m.c.tag)
            .join(x, x.c.id == t.c.x_id)
            .join(d2, and_(d2.c.id == x.c.parent_id, d2.c.flag), isouter=True)
            .where(m.c.d_id == d.c.id, or_(x.c.region == "eu", m.c.weight > 0))
            .order_by(d2.c.seen.desc().nulls_last(), x.c.parent_id.asc().nulls_first(), m.c.tag.collate(C).desc()),
            bound=1,
        ),
    ),
    "id",
)
"""A document over four tables, one of them the parent's own; nulls first and last in its order; bound 1."""

LOOSE_DOCUMENT = grouped(
    "loose_document",
    select(
        d.c.id,
        *embedded(
            "same",
            select(d2.c.id, d2.c.amount, d2.c.note)
            .where(d2.c.x_id == d.c.x_id, d2.c.value == d.c.value)
            .order_by(d2.c.amount.desc(), d2.c.id),
            bound=2,
        ),
        *embedded(
            "children",
            select(x1.c.id, x1.c.region).where(x1.c.parent_id == x.c.id).order_by(x1.c.id),
            bound=1,
        ),
    ).join_from(d, x, d.c.x_id == x.c.id, isouter=True),
    "id",
)
"""Documents found by a nullable pair that is not unique, over the parent's own table, and of an absent partner."""

UUIDS = grouped(
    "uuid_document",
    select(
        x.c.id,
        func.coalesce(_totals.c.total, 0).label("total"),
        *embedded("us", select(u.c.kind, u.c.d_id).where(u.c.d_id == x.c.id).order_by(u.c.id), bound=1),
    ).join_from(x, _totals, _totals.c.x_id == x.c.id, isouter=True),
    "id",
)
"""A document in uuid order beside another model's group."""

IN_CONDITIONS = grouped(
    "in_conditions",
    select(
        d2.c.id,
        x.c.name,
        case((select(func.count()).where(m.c.d_id == d2.c.id).scalar_subquery() > 1, "many"), else_="few").label("how"),
    )
    .join_from(
        d2,
        x,
        and_(
            x.c.id == d2.c.x_id,
            select(func.max(m.c.weight)).where(m.c.d_id == d2.c.id).scalar_subquery() > 0,
            func.coalesce(x.c.region, "z") != func.coalesce(d2.c.note, "eu"),
        ),
        isouter=True,
    )
    .where(
        or_(select(func.sum(d.c.value)).where(d.c.x_id == d2.c.id).scalar_subquery() > 0, x.c.id.is_(None), d2.c.flag)
    ),
    "id",
)
"""Correlated subqueries in ON, WHERE and CASE."""

GROUP_IN_KEY = ReadModel(
    name="group_in_key",
    select=select(func.coalesce(_totals.c.x_id, -1).label("of"), x.c.id, _totals.c.n).join_from(
        x, _totals, and_(_totals.c.x_id == x.c.id, _totals.c.n > 1), isouter=True
    ),
    partition_key=("of",),
    clustering_key=("id",),
)
"""The key says whether a group is there, which its own aggregate decides."""

BY_GROUP = grouped(
    "by_group",
    select(x.c.id, y.c.label, _totals.c.total)
    .join_from(x, _totals, _totals.c.x_id == x.c.parent_id)
    .join(y, and_(y.c.id1 == _totals.c.x_id, y.c.id2 == "a")),
    "id",
)
"""A table found by a group's key."""

OF_LEFT_JOINS = grouped(
    "of_left_joins",
    select(
        x.c.id,
        select(func.count(m.c.tag))
        .join_from(d, m, m.c.d_id == d.c.id, isouter=True)
        .where(d.c.x_id == x.c.id)
        .scalar_subquery()
        .label("tags"),
        select(func.coalesce(func.sum(d.c.value), -5) + func.count(d.c.amount))
        .where(d.c.x_id == x.c.id, d.c.flag)
        .scalar_subquery()
        .label("sum"),
        select(case((func.count() > 1, "many"), else_="few"))
        .where(d.c.x_id == x.c.id)
        .scalar_subquery()
        .label("how_many"),
    ),
    "id",
)
"""What a correlated aggregate is over no rows, with expressions around it that make a value of null."""

ADVERSE_SUBQUERIES: tuple[ReadModel, ...] = tuple(v for v in list(globals().values()) if isinstance(v, ReadModel))
