"""Data from files as pydantic records: what is wrong with them in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from unetr.errors import InputError

R = TypeVar("R", bound=BaseModel)


class Record(BaseModel):
    """Frozen data whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def record_from(kind: type[R], data: Any, source: str) -> R:
    """Checks decoded YAML or JSON. Raises InputError naming `source` and the first key that is wrong."""
    with valid(source):
        return kind.model_validate(data)


@contextmanager
def valid(source: str) -> Iterator[None]:
    """Where records are made of what a file says: one that cannot be is an InputError naming `source`."""
    try:
        yield
    except ValidationError as error:
        raise InputError(f"{source}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first key that is wrong, what is wrong with it, and how many more there are."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = ".".join(str(part)[:80] for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    return f"{key}: {what}{more}" if key else f"{what}{more}"
