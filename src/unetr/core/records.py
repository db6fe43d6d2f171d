"""Data from files as pydantic records: what is wrong with them in one line."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from unetr.errors import InputError

R = TypeVar("R", bound=BaseModel)


def record_from(kind: type[R], data: Any, source: str) -> R:
    """Checks decoded YAML or JSON. Raises InputError naming `source` and the first key that is wrong."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{source}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first key that is wrong, what is wrong with it, and how many more there are."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = ".".join(str(part)[:80] for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{key}: {what}{more}" if key else f"{what}{more}"
