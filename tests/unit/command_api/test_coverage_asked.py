"""The command API's question to the read API: whatever comes of it, a command that is done stays done."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from command_api.coverage import Coverage
from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken

TOKEN = ConsistencyToken(everywhere=Lsn(5))


async def reached(coverage: Coverage) -> bool | None:
    try:
        return await coverage.reached(TOKEN, 0.1, None)
    finally:
        await coverage.close()


@pytest.mark.parametrize("url", ["http://h:80:81", "h", "ftp://h", "http://127.0.0.1:9", "http://["])
def test_an_address_that_leads_nowhere_tells_nothing(url: str) -> None:
    async def main() -> bool | None:
        return await reached(Coverage(url, 1.0))

    assert asyncio.run(main()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[]", None), ("1", None), ("null", None), ("no", None), ("{}", None), ('{"covered": true}', True)],
)
def test_an_answer_of_another_kind_tells_nothing(text: str, expected: bool | None) -> None:
    async def main() -> bool | None:
        coverage = Coverage("http://h", 1.0)
        coverage._client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=text)))
        return await reached(coverage)

    assert asyncio.run(main()) is expected
