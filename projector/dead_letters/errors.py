"""What can go wrong with dead letters.

DeadLetterError            a letter could not be told, asked for or found
└── TooManyDeadLettersError   so many rows are refused that it is the schema which is wrong
"""

from __future__ import annotations


class DeadLetterError(RuntimeError):
    """The message says what happened and what to do."""


class TooManyDeadLettersError(DeadLetterError):
    """The worker ends before it covers any of them; those that it marked before stay."""
