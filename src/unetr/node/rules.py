"""Which series go to which model: the rules of a node, and why a series is not one that a rule asks for.

A rule is first held against a series' headers, which is cheap, and then against what reading it told: its size and
spacing. The first rule that a series meets counts, and the next ones only where it says `go_on`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from unetr.core.text.records import Record
from unetr.queue.record import Settings
from unetr.queue.tasks.dicom_forms import DICOM_FORMS

_LONGEST_PATTERN = 200
_LONGEST_NAME = 64
# A condition's key -> the DICOM attribute that it is held against.
_ATTRIBUTES = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "description": "SeriesDescription",
    "study_description": "StudyDescription",
    "protocol": "ProtocolName",
    "sequence": "SequenceName",
    "image_type": "ImageType",
    "manufacturer": "Manufacturer",
    "scanner": "ManufacturerModelName",
    "station": "StationName",
    "sop_class": "SOPClassUID",
}


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _readable(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        if not pattern.strip("!/") or len(pattern) > _LONGEST_PATTERN:
            raise ValueError(f"a pattern has 1 to {_LONGEST_PATTERN} characters")
        try:
            _compiled(pattern)
        except re.error as error:
            raise ValueError(f"{pattern} is no regular expression: {error}") from None
    return patterns


def _forms(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in DICOM_FORMS:
            raise ValueError(f"form {name} is unknown; expected some of {', '.join(DICOM_FORMS)}")
    return names


Patterns = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_readable)]
Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Forms = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_forms)]
Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]


class When(Record):
    """What a series must be. Each key that is given must hold.

    A text is met by one of its patterns, in capitals or not: with * and ? as in file names, or a regular expression
    between slashes. One that begins with ! must not be met. spacing_at_most_mm: along each axis. matrix_at_least: both
    rows and columns.
    """

    modality: Patterns = ()
    body_part: Patterns = ()
    description: Patterns = ()
    study_description: Patterns = ()
    protocol: Patterns = ()
    sequence: Patterns = ()
    image_type: Patterns = ()
    manufacturer: Patterns = ()
    scanner: Patterns = ()
    station: Patterns = ()
    sop_class: Patterns = ()
    contrast: bool | None = None
    matrix_at_least: Annotated[int, Field(ge=1)] | None = None
    slices_at_least: Annotated[int, Field(ge=1)] | None = None
    slices_at_most: Annotated[int, Field(ge=1)] | None = None
    spacing_at_most_mm: Annotated[float, Field(gt=0)] | None = None


class Channel(Record):
    """One of the series of a study that a model needs together. name: for messages."""

    name: Name
    when: When


class Rule(Record):
    """What is done with the series that meet it.

    model: the name that a model is offered by. channels: for a model with several, one for each in the model's order;
    each must be met by exactly one series of a study, and the study is given up `wait_s` seconds after the last of
    them came. forms: what is made beside the label file. destinations: whom the forms are sent to; none keeps them.
    """

    name: Name
    model: Name
    when: When | None = None
    channels: tuple[Channel, ...] = ()
    wait_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 1800.0
    forms: Forms = ("dicom-seg",)
    destinations: Words = ()
    go_on: bool = False
    tta: bool = False
    uncertainty: bool = False
    strict: bool = False

    @model_validator(mode="after")
    def _of_one_kind(self) -> Rule:
        if (self.when is None) == (not self.channels):
            raise ValueError("a rule has either `when` or `channels`; expected one of them")
        if len(self.channels) == 1:
            raise ValueError("`channels` has one entry; expected `when` for a model with one channel")
        if len({channel.name for channel in self.channels}) < len(self.channels):
            raise ValueError("two of `channels` have one name; expected different names")
        return self

    def settings(self, series: Sequence[str] = ()) -> Settings:
        """Those of the rule's jobs. series: SeriesInstanceUIDs, one for each channel."""
        return Settings(
            tta=self.tta,
            uncertainty=self.uncertainty,
            strict=self.strict,
            series=tuple(series),
            forms=tuple(sorted(set(self.forms))),
        )


@dataclass(frozen=True, slots=True)
class Size:
    """What reading a series told. slices: along the third axis."""

    slices: int
    spacing_mm: tuple[float, ...]


def mismatch(when: When, traits: Mapping[str, str], size: Size | None = None) -> str | None:
    """The first key of `when` that does not hold, and what it expects; None where all do.

    traits: see `unetr.io.dicom.series.head.read_traits`. size: None for what only headers are known of, whose size
    then does not count. Says nothing of what was found, which could name somebody.
    """
    for key, attribute in _ATTRIBUTES.items():
        patterns: tuple[str, ...] = getattr(when, key)
        if patterns and not _met(patterns, traits.get(attribute, "")):
            return f"{key}: expected {', '.join(patterns)}"
    if when.contrast is not None and when.contrast != ("ContrastBolusAgent" in traits):
        return f"contrast: expected {'one' if when.contrast else 'none'}"
    if when.matrix_at_least is not None and _matrix(traits) < when.matrix_at_least:
        return f"matrix_at_least: expected {when.matrix_at_least}"
    return None if size is None else _size_mismatch(when, size)


def _size_mismatch(when: When, size: Size) -> str | None:
    if when.slices_at_least is not None and size.slices < when.slices_at_least:
        return f"slices_at_least: expected {when.slices_at_least}, found {size.slices}"
    if when.slices_at_most is not None and size.slices > when.slices_at_most:
        return f"slices_at_most: expected {when.slices_at_most}, found {size.slices}"
    coarsest = max(size.spacing_mm, default=0.0)
    if when.spacing_at_most_mm is not None and coarsest > when.spacing_at_most_mm * (1 + 1e-6):
        return f"spacing_at_most_mm: expected {when.spacing_at_most_mm:g}, found {coarsest:g}"
    return None


def _met(patterns: Sequence[str], text: str) -> bool:
    """Whether one of the patterns is met, and none of those with a ! is. Of ImageType, each value by itself, too."""
    texts = {text, *text.split("\\")}
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    refused = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if any(_compiled(pattern).fullmatch(one) for pattern in refused for one in texts):
        return False
    return not wanted or any(_compiled(pattern).fullmatch(one) for pattern in wanted for one in texts)


def _compiled(pattern: str) -> re.Pattern[str]:
    bare = pattern.removeprefix("!")
    if len(bare) > 2 and bare.startswith("/") and bare.endswith("/"):
        return re.compile(f".*(?:{bare[1:-1]}).*", re.IGNORECASE | re.DOTALL)
    return re.compile(translate(bare), re.IGNORECASE)


def _matrix(traits: Mapping[str, str]) -> int:
    sides = [traits.get(keyword, "") for keyword in ("Rows", "Columns")]
    return min(int(side) if side.isdecimal() else 0 for side in sides)
