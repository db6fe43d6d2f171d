"""What is predicted, written and scored: classes that exclude each other, or regions that may overlap."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from unetr.core.plan import bounds
from unetr.core.plan.bounds import Name
from unetr.core.text.records import Record

# A region holds the voxels whose probability is above this. Of classes, the most probable one is decided.
IN_REGION = 0.5


class Region(Record):
    """A possibly overlapping target: the union of label values, written into the label file as one value."""

    name: Name
    """What the region is called in results."""
    labels: tuple[bounds.LabelValue, ...] = Field(min_length=1, max_length=bounds.MOST_LABELS)
    """Values in label files that make up the region."""
    written_as: bounds.Written
    """Value in predicted label files. Must differ between regions."""

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"region {self.name} lists a label value twice")
        return self


@dataclass(frozen=True, slots=True)
class Target:
    """One foreground class or region. values: those in true label files that make it up, several for a region."""

    name: str
    values: tuple[int, ...]


def output_count(labels: Collection[str], regions: Collection[Region]) -> int:
    """Channels of a segmenting network's output: one for each region, else one for each class and the background."""
    return len(regions) or len(labels)
