"""Products and their prices. A price is copied into an order when it is placed; changing it leaves placed orders."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from command_api.commands.categories import require_category
from command_api.commands.fields import Command, Description, Id, Money, Name, new_id
from command_api.commands.outcome import Outcome
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError, UnknownReferenceError
from command_api.preconditions import IfMatch, check

_COLUMNS = "product_id, name, description, price, category_id, version"


class CreateProduct(Command):
    """A new product; the id is made here unless given."""

    product_id: Id | None = None
    name: Name
    description: Description = ""
    price: Money
    category_id: Id | None = None


class ChangePrice(Command):
    """Another price, for orders to come."""

    price: Money


class RenameProduct(Command):
    """Another name."""

    name: Name


class DescribeProduct(Command):
    """Another description; it may be empty."""

    description: Description


class MoveProduct(Command):
    """Another category, or none."""

    category_id: Id | None


Change = ChangePrice | RenameProduct | DescribeProduct | MoveProduct
"""Commands of one field each, which is the column's name."""


def _product(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS.split(", "), row, strict=True))


async def create_product(connection: Connection, command: CreateProduct) -> Outcome:
    """Raises ConflictError when the given id is taken, UnknownReferenceError for the category."""
    if command.category_id is not None:
        await require_category(connection, command.category_id)
    product_id = command.product_id or new_id()
    cursor = await connection.execute(
        f"""
        insert into products (product_id, name, description, price, category_id) values (%s, %s, %s, %s, %s)
        on conflict do nothing returning {_COLUMNS}
        """,
        (product_id, command.name, command.description, command.price, command.category_id),
    )
    row = await cursor.fetchone()
    if row is None:
        raise ConflictError(f"there is a product {product_id} already", hint="leave product_id out or send another")
    return Outcome(body=_product(row), version=1, created=f"/products/{product_id}")


async def change_product(connection: Connection, product_id: UUID, expected: IfMatch, command: Change) -> Outcome:
    """Raises NotFoundError, VersionMismatchError, UnknownReferenceError for the category."""
    cursor = await connection.execute(
        "select version from products where product_id = %s for no key update", (product_id,)
    )
    locked = cast("tuple[int] | None", await cursor.fetchone())
    if locked is None:
        raise NotFoundError("product", product_id)
    check(expected, locked[0], "product")
    if isinstance(command, MoveProduct) and command.category_id is not None:
        await require_category(connection, command.category_id)
    ((column, value),) = command.model_dump().items()
    cursor = await connection.execute(
        f"update products set {column} = %s, version = version + 1 where product_id = %s returning {_COLUMNS}",
        (value, product_id),
    )
    row = await cursor.fetchone()
    assert row is not None, "the row is locked"
    product = _product(row)
    return Outcome(body=product, version=product["version"])


async def require_product(connection: Connection, product_id: UUID) -> None:
    """Hold the product in place until the transaction ends; raises UnknownReferenceError."""
    cursor = await connection.execute("select from products where product_id = %s for key share", (product_id,))
    if await cursor.fetchone() is None:
        raise UnknownReferenceError(f"there is no product {product_id}", hint="create the product first")
