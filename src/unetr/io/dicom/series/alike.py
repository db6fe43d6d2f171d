"""What must be the same in all slices of one volume: how they are stored, and everything that tells two stacks apart.

A series may hold several echoes, phases, time points or reconstructions. Whole stacks show as several slices at one
position; halves of two, alternating or one below the other, would form one regular grid of two contrasts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from unetr.errors import InputError
from unetr.io.dicom.header import Note, items, text, value
from unetr.io.dicom.series.grid import heights_mm
from unetr.io.dicom.series.instances import Instance
from unetr.io.dicom.series.slice import Slice

# How far direction cosines, and relatively pixel spacings, may differ within a series: rounding of text.
_SAME = 1e-4
# How far numbers that tell stacks apart, such as echo times, may differ relatively and still be one.
_SAME_SETTING = 0.01
# Attributes of which a volume has one value: where (a functional group's sequence, or the object itself), and which.
_SETTINGS = (
    *(("", each) for each in ("EchoTime", "EchoNumbers", "ImageType", "FlipAngle", "InversionTime", "SequenceName")),
    *(("", each) for each in ("TemporalPositionIdentifier", "TemporalPositionIndex", "DiffusionBValue")),
    *(("", each) for each in ("ContrastBolusAgent", "ContrastBolusAgentPhase", "KVP", "ConvolutionKernel")),
    *(("", each) for each in ("NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase")),
    *(("", each) for each in ("EffectiveEchoTime", "ComplexImageComponent", "AcquisitionContrast", "Units")),
    *(("FrameContentSequence", each) for each in ("TemporalPositionIndex", "StackID")),
    *(("MREchoSequence", each) for each in ("EffectiveEchoTime",)),
    *(("MRImageFrameTypeSequence", each) for each in ("FrameType", "ComplexImageComponent", "AcquisitionContrast")),
    *((each, "FrameType") for each in ("CTImageFrameTypeSequence", "PETFrameTypeSequence")),
    *(("MRDiffusionSequence", each) for each in ("DiffusionBValue", "DiffusionDirectionality")),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    ("MRModifierSequence", "InversionTimes"),
    *(("CardiacSynchronizationSequence", each) for each in ("NominalPercentageOfCardiacPhase",)),
    ("RespiratorySynchronizationSequence", "NominalPercentageOfRespiratoryPhase"),
    ("TemporalPositionSequence", "TemporalPositionTimeOffset"),
    ("CTXRayDetailsSequence", "KVP"),
    ("CTReconstructionSequence", "ConvolutionKernel"),
    *(("ContrastBolusUsageSequence", each) for each in ("ContrastBolusAgentAdministered", "ContrastBolusAgentPhase")),
)
# The same, but of gated slices each may have its own: they tell stacks apart where slices share them.
_TIMES = (
    *(("", each) for each in ("TriggerTime", "FrameReferenceTime")),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
)
# Acquired piece by piece, a sound volume may have many of these; alternating ones are unusual.
_ACQUISITIONS = (("", "AcquisitionNumber"), ("FrameContentSequence", "FrameAcquisitionNumber"))
# Dimensions along which frames are places of one volume.
_PLACES = {
    *("ImagePositionPatient", "ImageOrientationPatient", "InStackPositionNumber", "PlanePositionSequence"),
    *("ImagePositionVolume", "SliceLocation", "StackID", "FrameAcquisitionNumber", "InConcatenationNumber"),
}


def check_same(instances: Sequence[Instance], keyword: str) -> None:
    """Raises InputError, naming the odd one out, unless the attribute is the same in all instances."""
    found = [text(each.header, keyword, each.file.name) for each in instances]
    usual = Counter(found).most_common(1)[0][0]
    odd = next((index for index, each in enumerate(found) if each != usual), None)
    if odd is not None:
        raise InputError(
            f"{instances[odd].file.name}: its {keyword} differs from the other slices'; expected one in a series"
        )


def alike(slices: Sequence[Slice]) -> list[Slice]:
    """The slices, if they can be one volume's as far as size, orientation and number format go. Raises InputError.

    Unsigned numbers may be said to have fewer bits in some slices; then the others must really be empty.
    """
    traits: dict[str, Callable[[Slice], Hashable]] = {
        "pixels": lambda each: (each.layout.columns, each.layout.rows),
        "orientation": lambda each: tuple(np.round(each.axes, 3).ravel() + 0.0),
        "PixelSpacing": lambda each: tuple(round(value, 3) for value in each.spacing_mm),
        "rescaling": lambda each: each.rescale.is_given,
        "PixelRepresentation": lambda each: each.layout.signed,
        "BitsAllocated": lambda each: each.layout.allocated,
        "BitsStored or HighBit": lambda each: (each.layout.stored, each.layout.high),
    }
    usual = {trait: Counter(map(of, slices)).most_common(1)[0][0] for trait, of in traits.items()}
    like = {trait: next(each for each in slices if of(each) == usual[trait]) for trait, of in traits.items()}
    for each in slices:
        turn = float(np.abs(each.axes - like["orientation"].axes).max())
        stretch = max(abs(a / b - 1) for a, b in zip(each.spacing_mm, like["PixelSpacing"].spacing_mm, strict=True))
        odd = {trait: of(each) != usual[trait] for trait, of in traits.items()}
        odd |= {"orientation": turn > _SAME, "PixelSpacing": stretch > _SAME}
        if not each.layout.signed and each.layout.high == each.layout.stored - 1:
            odd["BitsStored or HighBit"] = False
        for trait in (trait for trait, differs in odd.items() if differs):
            raise InputError(
                f"{each.name}: its {trait} differs from {like[trait].name}'s; expected slices that are alike in "
                "a series; move it away"
            )
    _check_units(slices)
    if len({each.layout.stored for each in slices}) > 1:
        return [replace(each, layout=replace(each.layout, bare=True)) for each in slices]
    return list(slices)


def _check_units(slices: Sequence[Slice]) -> None:
    units = Counter(each.rescale.units for each in slices if each.rescale.units)
    if len(units) > 1:
        odd = next(each for each in slices if each.rescale.units == units.most_common()[-1][0])
        raise InputError(
            f"{odd.name}: its numbers are in {odd.rescale.units}, other slices' in {units.most_common(1)[0][0]}; "
            "expected one unit in a series"
        )


def check_one_stack(title: str, slices: Sequence[Slice]) -> list[Note]:
    """Raises InputError, saying how they differ, for slices of several stacks; notes what is unusual."""
    heights = heights_mm(slices)
    ordered = [slices[int(index)] for index in np.argsort(heights, kind="stable")]
    for where, keyword in _SETTINGS:
        groups, shown = _grouped([_found(each, where, keyword) for each in ordered])
        if len(shown) > 1:
            raise _several(title, ordered, keyword, groups, shown)
    for where, keyword in _TIMES:
        groups, shown = _grouped([_found(each, where, keyword) for each in ordered])
        if 1 < len(shown) <= len(ordered) / 2:
            raise _several(title, ordered, keyword, groups, shown)
    for name, numbers in _dimensions(ordered).items():
        groups, shown = _grouped(numbers)
        if len(shown) > 1:
            raise _several(title, ordered, f"dimension {name}", groups, shown)
    notes = []
    for where, keyword in _ACQUISITIONS:
        groups, shown = _grouped([_found(each, where, keyword) for each in ordered])
        if 1 < len(shown) < _runs(groups):
            notes.append(Note(f"{title}: its {keyword} is {_how(groups, shown)}: is it one scan?"))
    return notes


def _found(each: Slice, where: str, keyword: str) -> object:
    """The attribute's value in the first of the slice's groups that has it, None where none does."""
    try:
        for group in each.groups:
            for part in items(group, where, each.name)[:1] if where else (group,):
                found = value(part, keyword, each.name)
                if found is not None:
                    return _plain(found, part, keyword, each.name)
    except InputError:  # what no number or place depends on may be damaged, in all slices alike
        return "damaged"
    return None


def _plain(found: object, part: Dataset, keyword: str, name: str) -> object:
    """A number, or a text without the empty values at its end, which some programs write and others do not."""
    listed = list(found) if isinstance(found, Iterable) and not isinstance(found, str | bytes) else [found]
    try:
        numbers = [float(str(each)) for each in listed]
    except (TypeError, ValueError):
        return text(part, keyword, name).upper().rstrip("\\ ") or None
    return numbers[0] if len(numbers) == 1 else " ".join(f"{each:g}" for each in numbers)


def _dimensions(slices: Sequence[Slice]) -> dict[str, list[object]]:
    """Of the frames' public dimensions that are not places: each frame's index along them."""
    header, name = slices[0].groups[-1], slices[0].name
    pointers = [value(each, "DimensionIndexPointer", name) for each in items(header, "DimensionIndexSequence", name)]
    keywords = [keyword_for_tag(each) if isinstance(each, int) else "" for each in pointers]
    rows = []
    for each in slices:
        content = items(each.groups[0], "FrameContentSequence", each.name)
        found = value(content[0], "DimensionIndexValues", each.name) if content else None
        rows.append(list(found) if isinstance(found, Iterable) else [found])
    if any(len(row) != len(keywords) for row in rows):
        return {}
    return {
        keyword: [row[index] for row in rows]
        for index, keyword in enumerate(keywords)
        if keyword and keyword not in _PLACES
    }


def _grouped(values: Sequence[object]) -> tuple[list[int], list[str]]:
    """Which group each value is in, and how each group is shown; numbers that are nearly equal are one group."""
    numbers = sorted({each for each in values if isinstance(each, int | float)})
    first: dict[object, object] = {}
    for before, each in zip([None, *numbers], numbers, strict=False):
        near = before is not None and each - before <= _SAME_SETTING * max(abs(each), abs(before)) + 1e-6
        first[each] = first[before] if near else each
    groups: dict[object, int] = {}
    found = [groups.setdefault(first.get(each, each), len(groups)) for each in values]
    shown = ["none" if key is None else f"{key:g}" if isinstance(key, int | float) else str(key) for key in groups]
    return found, shown


def _runs(groups: Sequence[int]) -> int:
    return 1 + sum(a != b for a, b in pairwise(groups))


def _how(groups: Sequence[int], shown: Sequence[str]) -> str:
    runs, counts = _runs(groups), Counter(groups)
    listed = ", ".join(f"{shown[group]} ({counts[group]} slices)" for group in list(counts)[:4])
    more = " and others" if len(counts) > 4 else ""
    if runs == len(groups):
        return f"{listed}{more}, alternating from slice to slice"
    return f"{listed}{more}, {'one block below the other' if runs == len(shown) else 'mixed'}"


def _several(title: str, slices: Sequence[Slice], what: str, groups: Sequence[int], shown: Sequence[str]) -> InputError:
    rarest = Counter(groups).most_common()[-1][0]
    odd = slices[groups.index(rarest)].name
    return InputError(
        f"{odd}: {title} holds slices of {len(shown)} stacks: their {what} is {_how(groups, shown)}; expected one "
        "stack in a series; sort them into series of their own"
    )
