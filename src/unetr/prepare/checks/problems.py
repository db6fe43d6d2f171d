"""A finding about a dataset, as `unetr check` lists it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. case: its id, or None for the dataset as a whole. code: a stable word for machines.

    hint: of the error that was met, where it has one; see `UnetrError`.
    """

    case: str | None
    severity: Severity
    code: str
    message: str
    hint: str | None = None
