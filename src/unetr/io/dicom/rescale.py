"""From stored numbers to what they mean: rescaling, wherever an object says it, and grey values stored upside down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from unetr.errors import InputError
from unetr.io.dicom.header import Note, items, numbers_of, text


@dataclass(frozen=True, slots=True)
class Rescale:
    """slope × stored number + intercept, None for both where an object says neither. units: its word for them, empty
    where it has none. doubts: what is not sure about it."""

    slope: float | None = None
    intercept: float | None = None
    units: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether the object rescales its numbers."""
        return self.slope is not None

    @property
    def line(self) -> tuple[float, float]:
        """Slope and intercept; 1 and 0 where there are none."""
        return (1.0, 0.0) if self.slope is None or self.intercept is None else (self.slope, self.intercept)


def rescale_of(groups: Sequence[Dataset], name: str) -> Rescale:
    """What the first of the groups says that says anything: own functional groups, shared ones, the object itself.

    The standard wants it in the functional groups of enhanced objects; many have it at the top level alone. Objects
    without any may have a real world value mapping in its place. Raises InputError.
    """
    found = []
    for group in groups:
        for part in (*items(group, "PixelValueTransformationSequence", name)[:1], group):
            rescale = _linear(part, name)
            if rescale.is_given:
                found.append(rescale)
    if not found:
        return _real_world(groups, name)
    first = found[0]
    other = next((each for each in found if each.line != first.line), None)
    if other is None:
        return first
    doubt = (
        f"its functional groups rescale by {_said(first)}, its other attributes by {_said(other)}; "
        "the former, which the standard asks for, is used"
    )
    return Rescale(first.slope, first.intercept, first.units, (doubt,))


def upside_down(header: Dataset, name: str) -> str:
    """Which attribute says that the smallest number is to be shown white; empty where none does."""
    if text(header, "PhotometricInterpretation", name) == "MONOCHROME1":
        return "MONOCHROME1"
    if text(header, "PresentationLUTShape", name).upper() == "INVERSE":
        return "PresentationLUTShape INVERSE"
    return ""


def notes_on_numbers(kind: str, header: Dataset, rescales: Sequence[Rescale], name: str) -> list[Note]:
    """What is worth knowing about a series' numbers. kind: CT, MR or PET."""
    notes = [Note(f"{name}: {doubt}") for doubt in dict.fromkeys(doubt for each in rescales for doubt in each.doubts)]
    shown = upside_down(header, name)
    if shown and kind == "MR":
        notes.append(Note(f"{name}: is {shown}, dark where others are bright: its grey values were turned over"))
    elif shown:
        notes.append(Note(f"{name}: is {shown}, which is about display; its numbers are used as they are", doubt=False))
    if kind != "CT":
        return notes
    first = rescales[0]
    if not first.is_given:
        notes.append(Note(f"{name}: has no RescaleSlope and RescaleIntercept; its numbers are taken for HU"))
    if first.units not in ("", "HU", "US", "[hnsf'U]"):
        notes.append(Note(f"{name}: says that its numbers are in {first.units}; expected HU, as CT has"))
    lines = sorted({each.line for each in rescales})
    if len(lines) > 1:
        notes.append(
            Note(
                f"{name}: slices of its series are rescaled by different numbers (slope and intercept "
                f"{_line(lines[0])} to {_line(lines[-1])}); each is taken by its own"
            )
        )
    return notes


def _linear(dataset: Dataset, name: str) -> Rescale:
    slope = numbers_of(dataset, "RescaleSlope", 1, name)
    intercept = numbers_of(dataset, "RescaleIntercept", 1, name)
    if items(dataset, "ModalityLUTSequence", name):
        raise InputError(f"{name}: has a modality look-up table; expected a RescaleSlope and a RescaleIntercept")
    if slope is None and intercept is None:
        return Rescale()
    if slope is None or intercept is None or slope[0] == 0:
        raise InputError(f"{name}: its rescaling is incomplete; expected a RescaleSlope above 0 and a RescaleIntercept")
    return Rescale(slope[0], intercept[0], text(dataset, "RescaleType", name) or text(dataset, "Units", name))


def _real_world(groups: Sequence[Dataset], name: str) -> Rescale:
    """The real world value mapping, where there is one straight line for all numbers; else nothing, and a doubt."""
    mappings = [item for group in groups for item in items(group, "RealWorldValueMappingSequence", name)]
    lines: dict[tuple[float, float] | None, str] = {}
    for each in mappings:
        slope = numbers_of(each, "RealWorldValueSlope", 1, name)
        intercept = numbers_of(each, "RealWorldValueIntercept", 1, name)
        if slope is None or intercept is None or slope[0] == 0:
            lines[None] = ""
            continue
        codes = items(each, "MeasurementUnitsCodeSequence", name)
        lines[slope[0], intercept[0]] = text(codes[0], "CodeValue", name) if codes else ""
    if not lines:
        return Rescale()
    if len(lines) > 1 or None in lines:
        return Rescale(doubts=("has several real world value mappings, or a table; its stored numbers are used",))
    ((line, units),) = lines.items()
    return Rescale(*line, units) if line else Rescale()


def _said(rescale: Rescale) -> str:
    return f"slope {rescale.line[0]:g}, intercept {rescale.line[1]:g}"


def _line(line: tuple[float, float]) -> str:
    return f"{line[0]:g}, {line[1]:g}"
