"""How large the numbers and names of a plan may be: well beyond every use, well below what harms a machine.

They are checked when a plan is read, before anything of such a size is made.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from unetr.core.text.reading import whole_characters

# What a label file can hold (`unetr.io` reads and writes 16 bits).
LARGEST_LABEL = 65535
MOST_LABELS = 1024
# A voxel's decision is one bit for each region.
MOST_REGIONS = 64
MOST_CHANNELS = 256
MOST_TAPS = 64
LONGEST_NAME = 255
LONGEST_REASON = 10_000
# A token looks at all others: the matrix of 32768 tokens takes 4 GB for each head.
MOST_TOKENS = 1 << 15
MOST_WINDOW_VOXELS = 1 << 27
# Of weights, and of the values of one feature map: 16 GB in float32.
MOST_VALUES = 1 << 32


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"is {value}; expected a number")
    return value


_Number = BeforeValidator(_no_bool)


def _each_once(axes: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(axes)) < len(axes):
        raise ValueError(f"{list(axes)} has an axis twice")
    return axes


def _count(most: int) -> Any:
    return Field(gt=0, le=most)


Axis = Annotated[int, _Number, Field(ge=0, le=2)]
MirrorAxes = Annotated[tuple[Axis, ...], Field(max_length=3), AfterValidator(_each_once)]
Fraction = Annotated[float, _Number, Field(ge=0, le=1)]
Share = Annotated[float, _Number, Field(ge=0, lt=1)]
# Positive, and not zero or infinite in float32 either.
Positive = Annotated[float, _Number, Field(ge=1e-30, le=1e9)]
NotNegative = Annotated[float, _Number, Field(ge=0, le=1e9)]
Spread = Annotated[float, _Number, Field(ge=1e-30, le=1e30)]
Finite = Annotated[float, _Number, Field(ge=-1e30, le=1e30)]
Percentile = Annotated[float, _Number, Field(ge=0, le=100)]
# A nanometre to a metre.
Spacing = Annotated[float, _Number, Field(ge=1e-6, le=1e3)]
WindowSide = Annotated[int, _Number, _count(4096)]
Patch = Annotated[int, _Number, _count(256)]
Width = Annotated[int, _Number, _count(1 << 14)]
Depth = Annotated[int, _Number, _count(256)]
Heads = Annotated[int, _Number, _count(1 << 10)]
MlpWidth = Annotated[int, _Number, _count(1 << 16)]
Features = Annotated[int, _Number, _count(1 << 12)]
Few = Annotated[int, _Number, _count(64)]
BatchSize = Annotated[int, _Number, _count(4096)]
Steps = Annotated[int, _Number, Field(ge=0, le=10**9)]
LabelValue = Annotated[int, _Number, Field(ge=0, le=LARGEST_LABEL)]
Written = Annotated[int, _Number, _count(LARGEST_LABEL)]
# Of no class: also -1 and the like, which images of integers can hold.
IgnoredValue = Annotated[int, _Number, Field(ge=-(1 << 15), le=LARGEST_LABEL)]
Name = Annotated[str, AfterValidator(whole_characters), Field(min_length=1, max_length=LONGEST_NAME)]
Key = Annotated[str, AfterValidator(whole_characters), Field(min_length=1, max_length=2 * LONGEST_NAME)]
Reason = Annotated[str, AfterValidator(whole_characters), Field(max_length=LONGEST_REASON)]


def repeated(names: Iterable[str]) -> str:
    """The first name that was there before, be it spelled with other code points; empty where there is none."""
    return next(_again(names), "")


def _again(names: Iterable[str]) -> Iterator[str]:
    seen = set()
    for name in names:
        same = unicodedata.normalize("NFC", name)
        if same in seen:
            yield name
        seen.add(same)
