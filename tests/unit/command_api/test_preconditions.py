"""If-Match is read as RFC 9110 has it, and what is malformed is refused."""

from __future__ import annotations

import pytest

from command_api.errors import BadRequestError, VersionMismatchError
from command_api.preconditions import ANY_VERSION, IfMatch, check, etag, parse


@pytest.mark.parametrize("version", [1, 7, 2**31 - 1])
def test_a_tag_of_ours_is_read_back(version: int) -> None:
    assert parse(etag(version)) == IfMatch(versions=frozenset({version}))


@pytest.mark.parametrize("header", [None, "*", " * "])
def test_any_version_will_do(header: str | None) -> None:
    assert parse(header) == ANY_VERSION
    check(parse(header), 5, "user")


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        ('"1","2"', {1, 2}),
        (' "1" , W/"2" , "3" ', {1, 3}),
        ('"abc"', set()),
        ('""', set()),
        ('"0"', set()),
        ('"-1"', set()),
        ('"01"', set()),
        ('"1 "', None),
        ('"12345678901"', set()),
        ('"٣"', None),
        ("3", None),
        ("", None),
        ('"3', None),
        ('"3",', None),
        ('"3" "4"', None),
        ("*, *", None),
        ('"3", *', None),
        ('"a",' * 400 + '"a"', None),
    ],
)
def test_lists(header: str, versions: set[int] | None) -> None:
    if versions is None:
        with pytest.raises(BadRequestError):
            parse(header)
    else:
        assert parse(header).versions == versions


def test_another_version_is_refused_with_the_present_one() -> None:
    check(parse('"4"'), 4, "order")
    with pytest.raises(VersionMismatchError) as caught:
        check(parse('"3"'), 4, "order")
    assert '"4"' in caught.value.hint
