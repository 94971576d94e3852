"""Optimistic concurrency: versions as entity tags, and the If-Match header that names those a command may act on.

Pure. A tag is the decimal version in quotes. Tags of other servers, weak ones and numbers out of range are valid
syntax that matches no version (RFC 9110, section 13.1.1: If-Match compares strongly).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from command_api.errors import BadRequestError, VersionMismatchError

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_VERSION = re.compile(r'"([1-9][0-9]{0,9})"')
_MAX_CHARACTERS = 1_000


@dataclass(frozen=True, kw_only=True)
class IfMatch:
    """The versions that a command may act on; None means any, as long as there is one."""

    versions: frozenset[int] | None


ANY_VERSION = IfMatch(versions=None)


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def parse(header: str | None) -> IfMatch:
    """Read If-Match; without the header any version will do. Raises BadRequestError when it is malformed."""
    if header is None or header.strip() == "*":
        return ANY_VERSION
    if len(header) > _MAX_CHARACTERS or not _LIST.fullmatch(header):
        raise BadRequestError(
            "the If-Match header is not a list of entity tags", hint='send the ETag of a reply with its quotes, as "3"'
        )
    tags = re.findall(_TAG, header)
    return IfMatch(versions=frozenset(int(match[1]) for tag in tags if (match := _VERSION.fullmatch(tag))))


def check(expected: IfMatch, version: int, what: str) -> None:
    """Raise VersionMismatchError unless `version` of `what` is one of the expected."""
    if expected.versions is not None and version not in expected.versions:
        raise VersionMismatchError(
            f"the {what} is at version {version}, not at the one that If-Match names",
            hint=f'read the {what} again and decide anew, then send If-Match: "{version}"',
        )
