"""Orders with their items, and the moves between statuses.

placed ──▶ paid ──▶ shipped ──▶ delivered
   └────────┴──▶ cancelled
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import Field

from command_api.commands.fields import Command, Id, Label, Quantity, new_id
from command_api.commands.outcome import Outcome
from command_api.commands.people import require_user
from command_api.database import Connection
from command_api.errors import ConflictError, FieldError, NotFoundError, UnknownReferenceError
from command_api.preconditions import IfMatch, check

Status = Literal["placed", "paid", "shipped", "delivered", "cancelled"]

MOVES: dict[Status, tuple[Status, ...]] = {
    "placed": ("paid", "cancelled"),
    "paid": ("shipped", "cancelled"),
    "shipped": ("delivered",),
    "delivered": (),
    "cancelled": (),
}
MAX_ITEMS = 500


class OrderItem(Command):
    """So many of a product, at its price when the order is placed."""

    product_id: Id
    quantity: Quantity


class PlaceOrder(Command):
    """A new order; the id is made here unless given. Items become lines 1, 2, … in their order."""

    order_id: Id | None = None
    user_id: Id
    region: Label
    items: Annotated[tuple[OrderItem, ...], Field(min_length=1, max_length=MAX_ITEMS)]


class MoveOrder(Command):
    """The status that the order shall have."""

    status: Status


def check_move(order_id: UUID, current: Status, to: Status) -> None:
    """Raises ConflictError when an order can't go from `current` to `to`."""
    if to not in MOVES[current]:
        possible = " or ".join(MOVES[current])
        raise ConflictError(
            f"the order {order_id} is {current} and can't become {to}",
            hint=f"from {current} it can become {possible}" if possible else f"{current} is final",
        )


async def place_order(connection: Connection, command: PlaceOrder) -> Outcome:
    """Raises UnknownReferenceError for the user or a product, ConflictError when the given id is taken."""
    await require_user(connection, command.user_id)
    order_id = command.order_id or new_id()
    products = [item.product_id for item in command.items]
    # One statement for both tables: the lines join what the order's insert returned, so a taken id makes none.
    cursor = await connection.execute(
        """
        with placed as (
            insert into orders (order_id, user_id, region) values (%s, %s, %s) on conflict do nothing
            returning order_id, status, created_at, version
        ), lines as (
            insert into order_items (order_id, line_no, product_id, quantity, unit_price)
            select placed.order_id, asked.line_no, asked.product_id, asked.quantity, products.price
            from placed, unnest(%s::uuid[], %s::int[]) with ordinality as asked (product_id, quantity, line_no)
            join products using (product_id)
            returning line_no, product_id, quantity, unit_price
        )
        select placed.status, placed.created_at, placed.version, lines.*
        from placed left join lines on true order by lines.line_no
        """,
        (order_id, command.user_id, command.region, products, [item.quantity for item in command.items]),
    )
    rows = cast("list[tuple[Any, ...]]", await cursor.fetchall())
    if not rows:
        raise ConflictError(f"there is an order {order_id} already", hint="leave order_id out or send another")
    lines = [dict(zip(("line_no", "product_id", "quantity", "unit_price"), row[3:], strict=True)) for row in rows]
    known = {line["product_id"] for line in lines}
    unknown = [number for number, product_id in enumerate(products) if product_id not in known]
    if unknown:
        raise UnknownReferenceError(
            f"{len(unknown)} of the items name a product that does not exist",
            hint="create the products first, or remove these items",
            fields=[
                FieldError(
                    field=f"body.items.{number}.product_id",
                    message="There is no such product",
                    remedy="send the id of a product",
                )
                for number in unknown
            ],
        )
    status, created_at, version = rows[0][:3]
    body = {
        "order_id": order_id,
        "user_id": command.user_id,
        "status": status,
        "region": command.region,
        "created_at": created_at,
        "version": version,
        "items": lines,
    }
    return Outcome(body=body, version=version, created=f"/orders/{order_id}")


async def _lock(connection: Connection, order_id: UUID, expected: IfMatch) -> Status:
    cursor = await connection.execute("select version, status from orders where order_id = %s for update", (order_id,))
    row = cast("tuple[int, Status] | None", await cursor.fetchone())
    if row is None:
        raise NotFoundError("order", order_id)
    check(expected, row[0], "order")
    return row[1]


async def move_order(connection: Connection, order_id: UUID, expected: IfMatch, command: MoveOrder) -> Outcome:
    """Raises NotFoundError, VersionMismatchError, ConflictError for a forbidden move."""
    current = await _lock(connection, order_id, expected)
    check_move(order_id, current, command.status)
    cursor = await connection.execute(
        "update orders set status = %s, version = version + 1 where order_id = %s"
        " returning order_id, user_id, status, region, created_at, version",
        (command.status, order_id),
    )
    row = cast("tuple[Any, ...] | None", await cursor.fetchone())
    assert row is not None, "the row is locked"
    body = dict(zip(("order_id", "user_id", "status", "region", "created_at", "version"), row, strict=True))
    return Outcome(body=body, version=body["version"])


async def cancel_order(connection: Connection, order_id: UUID, expected: IfMatch) -> Outcome:
    """Raises NotFoundError, VersionMismatchError, ConflictError once the order is shipped or cancelled."""
    return await move_order(connection, order_id, expected, MoveOrder(status="cancelled"))


async def delete_order(connection: Connection, order_id: UUID, expected: IfMatch) -> Outcome:
    """Deletes the items too, in whatever status. Raises NotFoundError, VersionMismatchError."""
    await _lock(connection, order_id, expected)
    await connection.execute("delete from orders where order_id = %s", (order_id,))
    return Outcome(body={"order_id": order_id, "deleted": True})
