"""What goes wrong with a scheduled read model, and how it is said.

RefreshError
├── RefreshSetupError     a pseudo-table is missing, has other columns, or is not published: waiting does not help
├── RefreshFailedError    Postgres ran the SQL into an error, or its rows don't fit the declaration: the old rows stay
├── RefreshAwayError      Postgres did not answer or the connection broke: nothing has changed, or all of it
└── RefreshBusyError      another process runs this read model at this moment
"""

from __future__ import annotations


class RefreshError(RuntimeError):
    """A run that did not take place."""

    def __init__(self, read_model: str, reason: str, *, hint: str) -> None:
        super().__init__(f"{read_model}: {reason}. {hint}")
        self.read_model = read_model
        self.hint = hint


class RefreshSetupError(RefreshError):
    """The pseudo-table is not there as the declaration wants it."""


class RefreshFailedError(RefreshError):
    """The SQL failed, or gave rows that the read model can't hold; rolled back."""


class RefreshAwayError(RefreshError):
    """Postgres is away."""


class RefreshBusyError(RefreshError):
    """Another run of the same read model is under way."""
