"""The envelope of every list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

__all__ = ["Items"]

T = TypeVar("T", bound=BaseModel)


class Items(BaseModel, Generic[T]):
    """A complete list: there are no pages."""

    items: list[T]
    size: int = Field(description="Number of items.")

    @classmethod
    def of(cls, items: Iterable[T]) -> Items[T]:
        listed = list(items)
        return cls(items=listed, size=len(listed))
