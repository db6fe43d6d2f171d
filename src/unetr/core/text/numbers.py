"""Numbers and intervals as people read them, the same in every table and on every page; and those that JSON has."""

from __future__ import annotations

import math
from typing import Any

UNDEFINED = "-"


def number(value: float, digits: int) -> str:
    """With so many digits after the point; "-" for what is undefined (NaN)."""
    return UNDEFINED if math.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float, low: float, high: float, digits: int) -> str:
    """A value and its interval: 0.893 (0.881 to 0.904); the value alone where the interval is undefined."""
    if math.isnan(low) or math.isnan(high):
        return number(value, digits)
    return f"{number(value, digits)} ({interval(low, high, digits)})"


def interval(low: float, high: float, digits: int) -> str:
    """0.881 to 0.904; "-" where it is undefined."""
    return UNDEFINED if math.isnan(low) or math.isnan(high) else f"{number(low, digits)} to {number(high, digits)}"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 case, 2 cases."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def defined(data: Any) -> Any:
    """The same data with null for numbers that are not finite, which JSON does not have."""
    if isinstance(data, dict):
        return {key: defined(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [defined(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
