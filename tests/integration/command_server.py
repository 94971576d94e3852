"""A command API that runs, looked at from outside: requests, its database, its metrics, and what a problem must hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from tests.http_client import CONTEXT

PROBLEM = "application/problem+json"


@dataclass
class Api:
    """A running server and its database, looked at from outside."""

    url: str
    http: httpx.Client
    admin: psycopg.Connection

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.admin.execute(query, parameters).fetchall()

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers=_headers(headers))

    def put(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.http.put(path, json=body, headers=_headers(headers))

    def delete(self, path: str, **headers: str) -> httpx.Response:
        return self.http.delete(path, headers=_headers(headers))

    def user(self, name: str = "Ada") -> str:
        return str(self.post("/users", {"name": name}).raise_for_status().json()["user_id"])

    def product(self, price: str = "12.50") -> str:
        return str(self.post("/products", {"name": "Pen", "price": price}).raise_for_status().json()["product_id"])

    def order(self, user_id: str | None = None) -> str:
        body = {
            "user_id": user_id or self.user(),
            "region": "eu",
            "items": [{"product_id": self.product(), "quantity": 2}],
        }
        return str(self.post("/orders", body).raise_for_status().json()["order_id"])

    def category(self, name: str = "Office") -> str:
        return str(self.post("/categories", {"name": name}).raise_for_status().json()["category_id"])

    def review(self, product_id: str | None = None, user_id: str | None = None, rating: int = 4) -> str:
        ids = {"product_id": product_id or self.product(), "user_id": user_id or self.user()}
        made = self.post("/reviews", {**ids, "rating": rating, "body": "good"})
        return str(made.raise_for_status().json()["review_id"])

    def driver(self, name: str = "Dora") -> str:
        return str(self.post("/drivers", {"name": name}).raise_for_status().json()["driver_id"])

    def trip(self, *, finished: bool = False) -> str:
        body = {"driver_id": self.driver(), "rider_id": self.user(), "city": "Ely"}
        trip_id = str(self.post("/trips", body).raise_for_status().json()["trip_id"])
        if finished:
            self.post(f"/trips/{trip_id}/finish", {"fare": "7.50"}).raise_for_status()
        return trip_id

    def published(self, author_id: str | None = None) -> str:
        body = {"author_id": author_id or self.user(), "body": "hello"}
        return str(self.post("/posts", body).raise_for_status().json()["post_id"])

    def status(self, order_id: str) -> str:
        return str(self.rows("select status from orders where order_id = %s", order_id)[0][0])

    def metric(self, line_start: str) -> float:
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(line_start):
                return float(line.rpartition(" ")[2])
        return 0.0


def _headers(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:lockstep:problem:{kind}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["hint"]
    return problem


def at_once(api: Api, requests: list[tuple[str, str, Any, dict[str, str]]]) -> list[httpx.Response]:
    """The replies to requests that are all under way together, each on a connection of its own."""

    async def reply(method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        # By a client of its own: one client's pool looks through all of its connections whenever one of them changes.
        async with httpx.AsyncClient(base_url=api.url, timeout=60, verify=CONTEXT, trust_env=False) as client:
            return await client.request(method, path, json=body, headers=headers)

    async def run() -> list[httpx.Response]:
        return await asyncio.gather(*(reply(*request) for request in requests))

    return asyncio.run(run())
