"""What belongs to one volume and what is missing of it: parts of concatenations, localizers, promised numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from unetr.core.space.volume import Affine, affine_spacing_mm
from unetr.errors import InputError
from unetr.io.dicom.header import Note, items, numbers_of, text
from unetr.io.dicom.series.instances import Instance
from unetr.io.dicom.series.slice import Slice

_LOCALIZER = ("LOCALIZER", "SCOUT")
# How many images there should be, by an attribute of the images.
_PROMISES = ("ImagesInAcquisition", "NumberOfSlices", "NumberOfSeriesRelatedInstances")


def without_localizers(instances: Sequence[Instance]) -> tuple[list[Instance], list[Note]]:
    """The instances without the few that are localizers of another size or orientation, and a note of each."""
    is_localizer = [_is_localizer(each) for each in instances]
    if not 0 < sum(is_localizer) < len(instances) / 2:
        return list(instances), []
    usual = Counter(
        _geometry(each) for each, left_out in zip(instances, is_localizer, strict=True) if not left_out
    ).most_common(1)[0][0]
    kept, notes = [], []
    for each, may_go in zip(instances, is_localizer, strict=True):
        if may_go and _geometry(each) != usual:
            notes.append(Note(f"{each.file.name}: is a localizer of the series and was left out", doubt=False))
        else:
            kept.append(each)
    return kept, notes


def _is_localizer(instance: Instance) -> bool:
    words = text(instance.header, "ImageType", instance.file.name).upper()
    return any(word in words for word in _LOCALIZER)


def _geometry(instance: Instance) -> tuple[object, ...]:
    """Size and orientation, rounded; what is damaged is told when the slice is read."""
    header, name = instance.header, instance.file.name
    try:
        cosines = numbers_of(header, "ImageOrientationPatient", 6, name) or ()
    except InputError:
        cosines = ()
    return text(header, "Rows", name), text(header, "Columns", name), tuple(round(each, 2) + 0.0 for each in cosines)


def joined_parts(title: str, instances: Sequence[Instance]) -> tuple[list[Instance], list[Note]]:
    """The multi-frame instances that make one volume, in order: a single one, or all parts of one concatenation.

    Raises InputError for several instances that are none, and where a part is missing, there twice or out of step.
    """
    uids = {text(each.header, "ConcatenationUID", each.file.name) for each in instances}
    if len(instances) == 1 and uids == {""}:
        return list(instances), []
    if len(uids) > 1 or uids == {""}:
        raise InputError(
            f"{instances[1].file.name}: is one of {len(instances)} multi-frame instances of {title}; "
            "expected one per series, or the parts of one concatenation; move the others away"
        )
    numbered = sorted(((_whole(each, "InConcatenationNumber") or 0, each) for each in instances), key=lambda n: n[0])
    totals = {_whole(each, "InConcatenationTotalNumber") for each in instances} - {None}
    numbers, parts = [number for number, _ in numbered], [each for _, each in numbered]
    total = totals.pop() if len(totals) == 1 else None
    expected = total or max(*numbers, len(parts))
    if totals or numbers != list(range(1, expected + 1)):
        there = ", ".join(map(str, numbers))
        raise InputError(
            f"{parts[0].file.name}: is part {there} of {expected} of a concatenation in {title}; "
            f"expected all parts, 1 to {expected}, once each"
        )
    before = 0
    for each in parts:
        offset = _whole(each, "ConcatenationFrameOffsetNumber")
        if offset not in (None, before):
            raise InputError(
                f"{each.file.name}: its frames follow on {offset} frames of its concatenation's other parts, which "
                f"have {before}; expected all parts of {title}, whole"
            )
        before += _whole(each, "NumberOfFrames") or 0
    if total is None:
        how = f"says that it is a concatenation, not of how many parts; {len(parts)} found"
        return parts, [Note(f"{parts[0].file.name}: {how}", missing=True)]
    return parts, []


def _whole(instance: Instance, keyword: str) -> int | None:
    found = numbers_of(instance.header, keyword, 1, instance.file.name)
    return None if found is None else int(found[0])


def notes_on_completeness(
    title: str, slices: Sequence[Slice], instances: Sequence[Instance], affine: Affine
) -> list[Note]:
    """Doubts whether slices are missing that no gap shows: at the ends, or every second one.

    instances: all of the series, localizers included.
    """
    said = [_promise(title, slices, instances), _instance_numbers(title, instances), _steps(title, slices, affine)]
    return [Note(each, missing=True) for each in said if each]


def _promise(title: str, slices: Sequence[Slice], instances: Sequence[Instance]) -> str:
    """The attribute that promises most beyond what is there; counted by acquisition, which may be one of several."""
    by_acquisition: dict[str, list[Instance]] = {}
    for each in instances:
        by_acquisition.setdefault(text(each.header, "AcquisitionNumber", each.file.name), []).append(each)
    for keyword in _PROMISES:
        groups = by_acquisition.values() if keyword == "ImagesInAcquisition" else [list(instances)]
        for group in groups:
            there = len(slices) if len(slices) > len(instances) else len(group)
            promised = max((_safe(each, keyword) or 0 for each in group), default=0)
            if promised > there:
                return f"{title}: says {keyword} {promised}, {there} are there: are slices missing?"
    return ""


def _instance_numbers(title: str, instances: Sequence[Instance]) -> str:
    found = {_safe(each, "InstanceNumber") for each in instances}
    if None in found or len(found) < len(instances) or len(found) < 2:
        return ""
    numbers = sorted(each for each in found if each is not None)
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing:
        return (
            f"{title}: its InstanceNumbers run from {numbers[0]} to {numbers[-1]}, {missing} of them are not there: "
            "are slices missing?"
        )
    if numbers[0] > 1:
        return f"{title}: its InstanceNumbers begin at {numbers[0]}: are slices missing?"
    return ""


def _steps(title: str, slices: Sequence[Slice], affine: Affine) -> str:
    """Whether slices lie several times as far apart as SpacingBetweenSlices says, as when every second one is lost."""
    step = affine_spacing_mm(affine)[2]
    said, thick = (_spacing(slices[0], keyword) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    if not said or (thick and abs(said + thick - step) < 0.02 * step):  # some say the gap between two slices
        return ""
    times = round(step / said)
    if times >= 2 and abs(step - times * said) < 0.02 * step:
        return f"{title}: its slices are {step:.4g} mm apart, SpacingBetweenSlices is {said:g}: are slices missing?"
    return ""


def _spacing(each: Slice, keyword: str) -> float:
    for group in each.groups:
        for part in (*items(group, "PixelMeasuresSequence", each.name)[:1], group):
            try:
                found = numbers_of(part, keyword, 1, each.name)
            except InputError:  # the grid does not depend on it
                return 0.0
            if found is not None:
                return abs(found[0])
    return 0.0


def _safe(instance: Instance, keyword: str) -> int | None:
    """The whole number, None where it is absent or damaged: nothing but a note depends on it."""
    try:
        return _whole(instance, keyword)
    except InputError:
        return None
