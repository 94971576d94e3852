"""Orders."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import orders
from command_api.routes.call import Unversioned, Versioned, done, made

router = APIRouter()


@router.post("/orders", response_model=replies.OrderPlaced, tags=["orders"], **made(409))
async def place_order(call: Unversioned, command: orders.PlaceOrder) -> Response:
    """Place an order; each item takes its product's price of now."""
    return await call.run(partial(orders.place_order, command=command), command)


@router.put("/orders/{order_id}/status", response_model=replies.OrderMoved, tags=["orders"], **done(409, 412))
async def move_order(call: Versioned, order_id: UUID, command: orders.MoveOrder) -> Response:
    """Move an order to its next status: placed, paid, shipped, delivered; or cancelled before it is shipped."""
    work = partial(orders.move_order, order_id=order_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.post("/orders/{order_id}/cancel", response_model=replies.OrderMoved, tags=["orders"], **done(409, 412))
async def cancel_order(call: Versioned, order_id: UUID) -> Response:
    """Cancel an order that is not yet shipped."""
    return await call.run(partial(orders.cancel_order, order_id=order_id, expected=call.expected))


@router.delete("/orders/{order_id}", response_model=replies.OrderDeleted, tags=["orders"], **done(412, versioned=False))
async def delete_order(call: Versioned, order_id: UUID) -> Response:
    """Delete an order in whatever status, and its items."""
    return await call.run(partial(orders.delete_order, order_id=order_id, expected=call.expected))
