"""Pages open with their own query and with nothing else."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from command_api.lsn import Lsn
from read_api.paging import Page, PageSeal
from read_api.problem import InvalidPageError
from read_api.request import Bound, Query

SEAL = PageSeal(b"key")
QUERY = Query(model="m", partition=(UUID(int=1), "a"), equals=(3,), bounds=(Bound(operator=">", value=4),))
PAGES = st.builds(
    Page,
    covered=st.integers(0, (1 << 64) - 1).map(Lsn),
    after=st.none() | st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), max_size=3).map(tuple),
    state=st.none() | st.binary(max_size=200),
    postgres=st.booleans(),
)


@given(PAGES)
def test_a_page_opens_with_its_query(page: Page) -> None:
    text = SEAL.close(page, QUERY)
    assert SEAL.open(text, QUERY) == page
    assert text.replace("-", "").replace("_", "").isalnum()


def test_a_page_after_a_long_key_opens_and_fits_into_a_requests_head() -> None:
    page = Page(covered=Lsn(5), after=("k" * 30_000,), state=b"k" * 30_000, table="t")
    text = SEAL.close(page, QUERY)
    assert len(text) < 50_000
    assert SEAL.open(text, QUERY) == replace(page, state=None)
    merged = Page(covered=Lsn(5), after=("k" * 30_000,), state=b"17")
    assert SEAL.open(SEAL.close(merged, QUERY), QUERY) == merged


@pytest.mark.parametrize(
    "other",
    [
        Query(model="n", partition=QUERY.partition, equals=QUERY.equals, bounds=QUERY.bounds),
        Query(model="m", partition=(UUID(int=2), "a"), equals=QUERY.equals, bounds=QUERY.bounds),
        Query(model="m", partition=QUERY.partition, equals=(), bounds=QUERY.bounds),
        Query(model="m", partition=QUERY.partition, equals=QUERY.equals, bounds=()),
        Query(model="m", partition=QUERY.partition, equals=QUERY.equals, bounds=(Bound(operator=">=", value=4),)),
        Query(model="m", partition=QUERY.partition, equals=QUERY.equals, bounds=QUERY.bounds, reversed=True),
    ],
)
def test_a_page_of_another_query_stays_shut(other: Query) -> None:
    with pytest.raises(InvalidPageError):
        SEAL.open(SEAL.close(Page(covered=Lsn(5), state=b"state"), QUERY), other)


def test_a_page_of_another_service_stays_shut() -> None:
    with pytest.raises(InvalidPageError):
        PageSeal(b"other").open(SEAL.close(Page(covered=Lsn(5), state=b"state"), QUERY), QUERY)


@given(PAGES, st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_refused(page: Page, place: int, change: int) -> None:
    text = SEAL.close(page, QUERY)
    garbled = bytearray(text.encode())
    garbled[place % len(garbled)] ^= change
    other = garbled.decode("latin-1")
    try:
        opened = SEAL.open(other, QUERY)
    except InvalidPageError:
        return
    # Base64's last character may hold unused bits: another text, the same page.
    assert place % len(garbled) == len(garbled) - 1
    assert opened == page


@given(st.text(max_size=300))
def test_any_text_is_refused_with_a_remedy(text: str) -> None:
    assume(text)
    with pytest.raises(InvalidPageError) as caught:
        SEAL.open(text, QUERY)
    assert caught.value.members["field"] == "page"
    assert caught.value.hint
