"""Both APIs on real servers, asked by what schemathesis makes of their OpenAPI documents, well formed and not.

Held: no reply is a 500, and each conforms to the document: its status, media type, headers and body. The number of
requests is bounded, and so is the time of each API. Ids are swapped for known ones in some of the requests, because one
made up at random leads to a 404 and no further. A failure shows the seed; LOCKSTEP_FUZZ_SEED repeats it, and
LOCKSTEP_FUZZ_SECONDS gives each API other than 25 seconds: a slow machine gets through some operations only, in an order
that is another one each time, and more of them than one round begin another.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from command_api.process.settings import Settings
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.http_client import HTTP
from tests.unit.access.tokens import AUTH, bearer, token

SECONDS = float(os.environ.get("LOCKSTEP_FUZZ_SECONDS", "25"))
EXAMPLES = {GenerationMode.POSITIVE: 6, GenerationMode.NEGATIVE: 4}
SEED = int(os.environ.get("LOCKSTEP_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
HEADERS = bearer(token("read:*:any command:*:any metrics", exp=int(time.time()) + 24 * 3_600))  # of the whole session
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

Ids = dict[str, list[str]]


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    read_api = settings.read_api.model_copy(update={"port": port, "wait_ms": 20})
    with Pipeline(settings.model_copy(update={"auth": AUTH, "read_api": read_api}), tmp_path) as running:
        yield running


def test_no_request_finds_a_fault(pipeline: Pipeline) -> None:
    pipeline.set_up()
    with pipeline.running("command-api", "relay", "projector", "read-api") as (commands, *_, reads):
        urls = listening(commands, 90), f"http://127.0.0.1:{pipeline.settings.read_api.port}"
        with httpx.Client(trust_env=False, timeout=60) as client:
            for url, process in zip(urls, (commands, reads), strict=True):
                wait_for("it is ready", lambda url=url: _ready(client, url), 90, process.tail)  # type: ignore[misc]
            ids = _made(client, urls[0])
        faults: list[Exception] = []
        asked = {url: _fuzz(url, ids, faults) for url in urls}
        if faults:
            raise ExceptionGroup(f"LOCKSTEP_FUZZ_SEED={SEED}{commands.tail(2_000)}{reads.tail(2_000)}", faults)
    for operations, statuses in asked.values():
        assert operations >= 3, f"{operations} operations only: the time was too short"
        assert {status // 100 for status in statuses} >= {2, 4}, statuses


def _ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _made(client: httpx.Client, url: str) -> Ids:
    """One of each thing, through its command."""
    ids: Ids = {}

    def make(path: str, key: str, body: dict[str, Any]) -> str:
        reply = client.post(url + path, json=body, headers=HEADERS).raise_for_status().json()
        ids.setdefault(key, []).append(reply[key])
        return str(reply[key])

    user, other = (make("/users", "user_id", {"name": name}) for name in ("Ada", "Eve"))
    product = make("/products", "product_id", {"name": "lamp", "price": "1.00"})
    make("/categories", "category_id", {"name": "Office"})
    make("/orders", "order_id", {"user_id": user, "region": "eu", "items": [{"product_id": product, "quantity": 1}]})
    make("/reviews", "review_id", {"product_id": product, "user_id": other, "rating": 4, "body": "good"})
    driver = make("/drivers", "driver_id", {"name": "Dora"})
    make("/trips", "trip_id", {"driver_id": driver, "rider_id": user, "city": "Ely"})
    make("/posts", "post_id", {"author_id": user, "body": "hello"})
    channel = make("/channels", "channel_id", {"name": "all"})
    make("/messages", "message_id", {"channel_id": channel, "author_id": user, "body": "hello"})
    address = {"label": "home", "line": "1 Road", "city": "Ely", "postcode": "CB7"}
    make(f"/users/{user}/addresses", "address_id", address)
    for name in ("author_id", "rider_id", "followee_id", "follower_id"):
        ids[name] = ids["user_id"]
    return ids


def _fuzz(url: str, ids: Ids, faults: list[Exception]) -> tuple[int, set[int]]:
    """How many operations were asked, and with which statuses they answered."""
    document = HTTP.get(f"{url}/openapi.json").raise_for_status().json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    operations = [result.ok() for result in schema.get_all_operations()]
    random.Random(SEED).shuffle(operations)
    until, statuses, count = time.monotonic() + SECONDS, set[int](), 0
    for operation in operations * max(1, round(SECONDS / 25)):
        if time.monotonic() > until:
            break
        for mode, examples in EXAMPLES.items():
            try:
                _ask(operation, mode, examples, ids, statuses, SEED + count)
            except Unsatisfiable:
                pass  # nothing of this operation can be wrong in that way
            except Exception as error:
                error.add_note(operation.label)
                faults.append(error)
        count += 1
    return count, statuses


def _ask(operation: Any, mode: GenerationMode, examples: int, ids: Ids, statuses: set[int], seed: int) -> None:
    swap = random.Random(f"{seed} {mode}")

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def ask(case: Any) -> None:
        if swap.random() < 0.6:
            _know(case.path_parameters, ids, swap)
            _know(case.body, ids, swap)
        prefer = {} if "prefer" in {name.lower() for name in case.headers or ()} else {"Prefer": "wait=0.02"}
        reply = case.call(headers=HEADERS | prefer, timeout=70)
        statuses.add(reply.status_code)
        assert reply.status_code != 500, f"{case.as_curl_command()}\n{reply.text}"
        if reply.status_code == 503:
            assert reply.headers["retry-after"]
        case.validate_response(reply, checks=CHECKS)

    ask()


def _know(values: Any, ids: Ids, swap: random.Random) -> None:
    """Put known ids where there are ids of that name."""
    if isinstance(values, dict):
        for name, value in values.items():
            if name in ids and swap.random() < 0.8:
                values[name] = swap.choice(ids[name])
            else:
                _know(value, ids, swap)
    elif isinstance(values, list):
        for value in values:
            _know(value, ids, swap)
