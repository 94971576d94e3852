"""What keeps a verification from its end. Differences between the two sides are no error, they are its result.

VerifyError
├── SourceError     Postgres can't be asked as verification needs it
├── TableError      Cassandra can't be read
└── NotCoveredError the read model did not reach the position within the time given
"""

from __future__ import annotations


class VerifyError(RuntimeError):
    """Base; the message says what happened, where, and what to do."""


class SourceError(VerifyError):
    """The login, the temporary slot, its snapshot, or the select() itself."""


class TableError(VerifyError):
    """A table that is missing or a cluster that does not answer."""


class NotCoveredError(VerifyError):
    """No worker has published the position."""
