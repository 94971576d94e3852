"""Kinds of values that commands accept: everything Postgres would refuse is refused here, by name, before a connection
is taken: NUL characters, unpaired surrogates, oversized text, numbers outside numeric(12,2)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError
from uuid6 import uuid7


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError(
            "nul_character", "Text contains the character U+0000", {"remedy": "remove it: Postgres stores none"}
        )
    return text


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError(
            "decimal_type",
            "A boolean is no decimal number",
            {"remedy": 'send a decimal, best as text: "12.50"'},
        )
    return value


_NO_NUL = AfterValidator(_no_nul)

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), _NO_NUL]
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), _NO_NUL]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), _NO_NUL]
Description = Annotated[str, StringConstraints(max_length=10_000), _NO_NUL]
PostBody = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000), _NO_NUL]
HttpUrl = Annotated[str, StringConstraints(max_length=2_048, pattern=r"^https?://[^\s\x00-\x1f]+$"), _NO_NUL]
Money = Annotated[
    Decimal,
    BeforeValidator(_no_bool),
    Field(ge=0, max_digits=12, decimal_places=2, allow_inf_nan=False, examples=["12.50"]),
]
Quantity = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Rating = Annotated[int, Field(strict=True, ge=1, le=5)]
Id = Annotated[UUID, Field(examples=["01938d7e-5c3a-7b4e-9f00-3a5b1c2d4e6f"])]


class Command(BaseModel):
    """A command's values: frozen, and names that are not known are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def new_id() -> UUID:
    """A uuid v7: rising with time, so that indexes grow at their end."""
    return UUID(int=uuid7().int)
