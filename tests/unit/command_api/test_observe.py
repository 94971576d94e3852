"""The outermost layer: it counts, and nothing of a fault's inside gets out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from command_api.intake import Intake
from command_api.observe import Metrics, Observe

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/secret-path", "headers": []}


def _call(app: ASGIApp, scope: dict[str, Any], *messages: Message) -> list[Message]:
    queue, sent = list(messages), []

    async def receive() -> Message:
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent


def test_a_fault_is_answered_counted_and_not_told() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("inside")

    metrics = Metrics(dict)
    sent = _call(Observe(broken, metrics), dict(SCOPE))
    assert sent[0]["status"] == 500
    assert b"inside" not in sent[1]["body"]
    labels = {"method": "POST", "route": "unknown", "status": "500"}
    assert metrics.registry.get_sample_value("command_api_request_seconds_count", labels) == 1


def test_a_fault_in_the_middle_of_a_reply_ends_the_connection() -> None:
    async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError):
        _call(Observe(broken, Metrics(dict)), dict(SCOPE))


def test_methods_and_paths_of_strangers_make_no_labels() -> None:
    async def nothing(_scope: Scope, _receive: Receive, _send: Send) -> None: ...

    metrics = Metrics(dict)
    for number in range(50):
        _call(Observe(nothing, metrics), {**SCOPE, "method": f"X{number}", "path": f"/{number}"})
    labels = {"method": "other", "route": "unknown", "status": "0"}
    assert metrics.registry.get_sample_value("command_api_request_seconds_count", labels) == 50


def _body(*parts: bytes) -> list[Message]:
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    assert not message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


@pytest.mark.parametrize(
    ("headers", "parts", "status"),
    [
        ([(b"content-type", b"application/json")], [b"{", b"}"], 200),
        ([(b"content-type", b"application/json")], [b"x" * 5, b"x" * 5], 200),
        ([(b"content-type", b"application/json")], [b"x" * 5, b"x" * 6], 413),
        ([(b"content-length", b"11")], [b""], 413),
        ([(b"content-length", b"9" * 5_000)], [b""], 413),
        ([(b"content-length", b"-1")], [b""], 400),
        ([(b"content-type", b"application/jsonx")], [b"{}"], 415),
        ([], [b""], 200),
    ],
)
def test_bodies_are_bounded_and_handed_on_whole(headers: list[Any], parts: list[bytes], status: int) -> None:
    sent = _call(Intake(_echo, 10), {**SCOPE, "headers": headers}, *_body(*parts))
    assert sent[0]["status"] == status
    if status == 200:
        assert sent[1]["body"] == b"".join(parts)


def test_a_client_that_leaves_within_its_body_is_no_request() -> None:
    assert _call(Intake(_echo, 10), dict(SCOPE), {"type": "http.request", "body": b"{", "more_body": True}) == []
