"""Categories and products."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import catalogue, categories
from command_api.routes.call import Unversioned, Versioned, done, made

router = APIRouter()


@router.post("/categories", response_model=replies.Category, tags=["categories"], **made(409, versioned=False))
async def create_category(call: Unversioned, command: categories.CreateCategory) -> Response:
    """Create a category of products."""
    return await call.run(partial(categories.create_category, command=command), command)


@router.put(
    "/categories/{category_id}/name", response_model=replies.Category, tags=["categories"], **done(versioned=False)
)
async def rename_category(call: Unversioned, category_id: UUID, command: categories.RenameCategory) -> Response:
    """Rename a category."""
    return await call.run(partial(categories.rename_category, category_id=category_id, command=command), command)


@router.post("/products", response_model=replies.Product, tags=["products"], **made(409))
async def create_product(call: Unversioned, command: catalogue.CreateProduct) -> Response:
    """Create a product."""
    return await call.run(partial(catalogue.create_product, command=command), command)


@router.put("/products/{product_id}/price", response_model=replies.Product, tags=["products"], **done(412))
async def change_price(call: Versioned, product_id: UUID, command: catalogue.ChangePrice) -> Response:
    """Change a product's price; orders already placed keep theirs."""
    work = partial(catalogue.change_product, product_id=product_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.put("/products/{product_id}/name", response_model=replies.Product, tags=["products"], **done(412))
async def rename_product(call: Versioned, product_id: UUID, command: catalogue.RenameProduct) -> Response:
    """Rename a product."""
    work = partial(catalogue.change_product, product_id=product_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.put("/products/{product_id}/description", response_model=replies.Product, tags=["products"], **done(412))
async def describe_product(call: Versioned, product_id: UUID, command: catalogue.DescribeProduct) -> Response:
    """Change a product's description."""
    work = partial(catalogue.change_product, product_id=product_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.put("/products/{product_id}/category", response_model=replies.Product, tags=["products"], **done(412))
async def move_product(call: Versioned, product_id: UUID, command: catalogue.MoveProduct) -> Response:
    """Move a product to another category, or out of any with null."""
    work = partial(catalogue.change_product, product_id=product_id, expected=call.expected, command=command)
    return await call.run(work, command)
