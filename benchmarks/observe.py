"""Observations: what is not a race of two servers but a thing that happens, and the bars it has to keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Figure", "Observation"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number and what it may be."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def missed(self) -> bool:
        over = self.at_most is not None and self.value > self.at_most
        return over or (self.at_least is not None and self.value < self.at_least)

    def text(self) -> str:
        """Without its bar."""
        return f"{self.name} {self.value:,.4g}"

    def bar(self) -> str:
        """Empty when there is none."""
        if self.at_most is not None:
            return f"{self.name} <= {self.at_most:,.4g}"
        return "" if self.at_least is None else f"{self.name} >= {self.at_least:,.4g}"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen."""

    key: str
    work: str
    figures: list[Figure] = field(default_factory=list)

    @property
    def missed(self) -> bool:
        return any(figure.missed for figure in self.figures)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"missed": self.missed}
