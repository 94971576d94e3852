"""The continuation of a query, sealed: what ``next_page`` is made of and how it is opened again. Pure.

A page carries the clustering key of the last row before it, with which either source goes on, Cassandra's paging state
where that is the quicker way, and the position that the pages before it showed, so that a later page is never older than
an earlier one. It opens only with the query it was made for: model, key, ranges and order (a limit
may change). The seal is a keyed BLAKE2b under the server's key; without a configured secret that key is made of public
names, which keeps pages of other queries and garbled ones out, and forged ones not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, replace

import msgspec

from command_api.lsn import Lsn
from read_api.problem import InvalidPageError
from read_api.request import Query

_SEAL_BYTES = 16
_MAX_TEXT = 49_152  # with the rest of a request's head within its 64 KiB: a clustering key of 36 KB
_LONG_STATE = 64  # bytes; Cassandra's holds the key once more


class _Content(msgspec.Struct, array_like=True, frozen=True):
    covered: int
    after: tuple[str, ...] | None
    state: bytes | None
    postgres: bool
    table: str = ""


_decoder = msgspec.msgpack.Decoder(_Content)


@dataclass(frozen=True, kw_only=True)
class Page:
    """covered: the position that this page is to cover, because the one before may have shown it.

    after: the clustering key of the last row before this page, as texts of `read_api.literals`; None at the beginning.
    state: Cassandra's, opaque; None where there is none. postgres: the page before came from there.
    table: in Cassandra, which the state is of; in another generation's the page goes on after the key.
    """

    covered: Lsn
    after: tuple[str, ...] | None = None
    state: bytes | None = None
    postgres: bool = False
    table: str = ""


class PageSeal:
    """Seals and opens pages under one key, shared by every process of a service."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"read-api page\0" + key).digest()

    def close(self, page: Page, query: Query) -> str:
        """The text of `page`: URL-safe, opaque to clients. Of a long key Cassandra's state, which repeats it, is left out."""
        text = self._close(page, query)
        if len(text) > _MAX_TEXT and page.after is not None and len(page.state or b"") > _LONG_STATE:
            text = self._close(replace(page, state=None), query)
        return text

    def _close(self, page: Page, query: Query) -> str:
        content = msgspec.msgpack.encode(
            _Content(
                covered=int(page.covered), after=page.after, state=page.state, postgres=page.postgres, table=page.table
            )
        )
        return base64.urlsafe_b64encode(self._seal(content, query) + content).rstrip(b"=").decode()

    def open(self, text: str, query: Query) -> Page:
        """The page of `text`; raises InvalidPageError when it is garbled or was made for another query."""
        try:
            if len(text) > _MAX_TEXT:
                raise ValueError("too long")
            sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            content = sealed[_SEAL_BYTES:]
            if not hmac.compare_digest(sealed[:_SEAL_BYTES], self._seal(content, query)):
                raise ValueError("the seal does not match")
            opened = _decoder.decode(content)
            return Page(
                covered=Lsn(opened.covered),
                after=opened.after,
                state=opened.state,
                postgres=opened.postgres,
                table=opened.table,
            )
        except (ValueError, binascii.Error, msgspec.DecodeError) as error:
            raise foreign_page() from error

    def _seal(self, content: bytes, query: Query) -> bytes:
        sealed = repr(query).encode() + b"\0" + content
        return hashlib.blake2b(sealed, key=self._key, digest_size=_SEAL_BYTES).digest()


def foreign_page() -> InvalidPageError:
    """The refusal of a page, whoever finds out."""
    return InvalidPageError(
        "page is garbled, or was made for another key, range, order or read model",
        hint="send next_page unchanged with the same path and parameters, or start again without page", field="page",
    )  # fmt: skip
