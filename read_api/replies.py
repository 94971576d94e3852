"""A read's reply as HTTP: its headers, its entity tag, and 304 for whoever has these rows already. Pure.

A cache may hold a reply, the caller's own only when callers are told apart, and must ask each time before it is used again
(``no-cache``). The tag is weak: it stands for the rows and whether there are more, not for the members of the body that
tell of freshness. Their newest values are the headers of every reply, those of a 304 too, with which a cache updates what it
holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from read_api.problem import CONTENT_TYPE, ProblemError
from read_api.rows import Reply

Headers = list[tuple[bytes, bytes]]

_SLICE = 2_047  # of more than this hashlib lets other threads run, which takes longer than the hashing


def entity_tag(rows: bytes, more: bool) -> bytes:
    """The weak ETag of a reply: the same for the same encoded rows, on every process."""
    digest = blake2b(b"more" if more else b"", digest_size=12)
    for start in range(0, len(rows), _SLICE):
        digest.update(rows[start : start + _SLICE])
    return b'W/"%s"' % digest.hexdigest().encode()


def is_held(headers: Iterable[tuple[bytes, bytes]], tag: bytes) -> bool:
    """Whether ASGI's headers (names in lower case) say, with If-None-Match, that the client holds this reply."""
    held = b",".join(value for name, value in headers if name == b"if-none-match")
    # Weak comparison; an opaque tag of ours has no comma, so that those which have one can't be mistaken for it.
    return bool(held) and any(part.strip(b" \t") in (b"*", tag, tag[2:]) for part in held.split(b","))


def rows_headers(reply: Reply, tag: bytes, *, private: bool) -> Headers:
    """Of a reply with rows, and of the 304 in its place."""
    headers = [
        (b"cache-control", b"private, no-cache" if private else b"no-cache"),
        (b"vary", b"Authorization, Consistency-Token, Prefer"),
        (b"etag", tag),
        (b"source", reply.source.encode()),
        (b"covered-lsn", str(reply.covered).encode()),
        (b"consistency-token", str(reply.token).encode()),
        (b"stale", b"true" if reply.stale else b"false"),
    ]
    if reply.lag_seconds is not None:
        headers.append((b"lag-seconds", b"%.6f" % reply.lag_seconds))
    return headers


def problem_reply(problem: ProblemError) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a reply that is not rows."""
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return problem.status, headers, problem.body()
