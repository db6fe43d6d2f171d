"""Whether there is still something to learn from after preparation: constant channels, lost labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import Plan
from unetr.core.space.geometry import Placement, placed_view
from unetr.core.space.volume import Volume
from unetr.prepare.checks.problems import Problem
from unetr.prepare.measure.scan_facts import by_axis
from unetr.prepare.preprocess import CONSTANT_SHARE, Image

# A label that keeps less than this share of its volume, or of its components, has lost most of it.
_MOST = 0.5
# Components that together hold less than this share of a label are specks of an annotation.
_SPECKS = 0.001
# A window that a scan fills less than this sees next to nothing but its border.
_SMALLEST_SHARE = 1 / 64
_SATURATED = 0.9


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparation did to one case.

    facts: code of a problem -> what it is about (a channel, a label, the grid) -> the finding in words. harmful: the
    codes and subjects with which training would be wrong where they are the rule.
    """

    case: str
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    present: tuple[str, ...] = ()


# Codes that say no more than that something may be lost.
_ONLY_WARNED = ("lost_components", "clipped_label")


def examine(
    case: str, source: tuple[Volume, Volume], image: Image, label: NDArray[Any], placement: Placement, plan: Plan
) -> Prepared:
    """What is odd about a prepared case. source: image and label as they were read.

    image: float32 [C, X, Y, Z], label: class indices [X, Y, Z], as `preprocess` makes them with `placement`.
    """
    volume, truth = source
    facts: dict[str, dict[str, str]] = {
        "constant_after_preparation": _constant(volume, image, plan),
        "degenerate_grid": _degenerate(volume, image, plan),
        "lost_label": {},
        "lost_components": {},
        "clipped_label": _clipped(image, label, plan),
    }
    values = truth.data[0]
    present = []
    for index, name in enumerate(plan.class_names):
        before = int(np.count_nonzero(values == plan.class_values[index])) if index else 0
        if not before:
            continue
        present.append(name)
        code, words = _lost(values == plan.class_values[index], label == index, placement)
        if code:
            facts[code][name] = f"label {name} {words}"
    return Prepared(case, {code: found for code, found in facts.items() if found}, tuple(present))


def judge(cases: Sequence[Prepared], plan: Plan) -> list[Problem]:
    """The problems of all prepared cases: an error where most of the cases concerned have it, else a warning each."""
    problems: list[Problem] = []
    found: dict[tuple[str, str], list[Prepared]] = {}
    for case in cases:
        for code, subjects in case.facts.items():
            for subject in subjects:
                found.setdefault((code, subject), []).append(case)
    for (code, subject), having in found.items():
        concerned = sum(subject in case.present for case in cases) if subject in plan.labels else len(cases)
        words = having[0].facts[code][subject]
        if 2 * len(having) > concerned and code not in _ONLY_WARNED:
            message = (
                f"in {len(having)} of {concerned} cases, such as {having[0].case!r}, {words}; the plan does not fit"
            )
            problems.append(Problem(None, "error", code, message))
        elif 2 * len(having) > concerned:
            message = f"in {len(having)} of {concerned} cases, such as {having[0].case!r}, {words}"
            problems.append(Problem(None, "warning", code, message))
        else:
            problems += [Problem(case.case, "warning", code, case.facts[code][subject]) for case in having]
    return problems


def untrained_labels(cases: Sequence[Prepared], folds: Mapping[int, Sequence[str]]) -> list[Problem]:
    """Labels that a fold never trains on, since only cases that it holds back have them. folds: number -> cases."""
    having: dict[str, list[str]] = {}
    for case in cases:
        for name in case.present:
            having.setdefault(name, []).append(case.case)
    problems = []
    for name, ids in having.items():
        without = [number for number, held in folds.items() if set(ids) <= set(held)]
        if without:
            only = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
            message = f"fold {without[0]} trains without label {name!r}: only {only} has it, which that fold holds back"
            problems.append(Problem(None, "warning", "untrained_label", message))
    return problems


def _constant(volume: Volume, image: Image, plan: Plan) -> dict[str, str]:
    """Channels that vary in the scan and do not after preparation; constant scans are `check_dataset`'s to tell."""
    found = {}
    for channel, source, data in zip(plan.channels, volume.data, image, strict=True):
        level = max(abs(float(data.min())), abs(float(data.max())))
        if data.max() - data.min() <= CONSTANT_SHARE * level and source.min() < source.max():
            found[channel.name] = (
                f"every voxel of channel {channel.name} is the same after normalisation {channel.normalisation}, where "
                f"the scan has {float(source.min()):.4g} to {float(source.max()):.4g}"
            )
    return found


def _degenerate(volume: Volume, image: Image, plan: Plan) -> dict[str, str]:
    shape = image.shape[1:]
    words = (
        f"the scan of {by_axis(volume.shape)} voxels of {by_axis(round(mm, 4) for mm in volume.spacing_mm)} mm becomes "
        f"{by_axis(shape)} voxels at {by_axis(plan.spacing_mm)} mm"
    )
    # Scans that are one voxel thick by themselves are no fault of the grid.
    if min(shape) < 2 <= min(volume.shape):
        return {"grid": words}
    filled = math.prod(min(1.0, size / side) for size, side in zip(shape, plan.window, strict=True))
    if filled < _SMALLEST_SHARE and math.prod(shape) < _MOST * math.prod(volume.shape):
        return {"grid": f"{words}, {filled:.2%} of a window"}
    return {}


def _clipped(image: Image, label: NDArray[Any], plan: Plan) -> dict[str, str]:
    """Labels that in every channel lie at its darkest or brightest value, with more of other voxels beside them."""
    ends = [
        [(end, int(np.count_nonzero(channel == end))) for end in (channel.min(), channel.max())] for channel in image
    ]
    found = {}
    for index, name in enumerate(plan.class_names):
        own = label == index
        count = int(np.count_nonzero(own)) if index else 0
        if count and all(_at_an_end(channel[own], two, count) for channel, two in zip(image, ends, strict=True)):
            found[name] = (
                f"label {name} lies where normalisation clips, at one value with more other voxels: what sets "
                "it apart in the scan may be lost"
            )
    return found


def _at_an_end(values: NDArray[np.float32], ends: list[tuple[np.float32, int]], count: int) -> bool:
    for end, everywhere in ends:
        here = int(np.count_nonzero(values == end))
        if here >= _SATURATED * count and everywhere - here > count:
            return True
    return False


def _lost(truth: NDArray[np.bool_], after: NDArray[np.bool_], placement: Placement) -> tuple[str, str]:
    """Code and words where a label lost all or most of its volume or of its components; empty where it did not.

    truth: on the scan's grid, after: on the plan's.
    """
    inside = placed_view(truth, placement)
    count, kept = int(np.count_nonzero(truth)), int(np.count_nonzero(after))
    expected = count * after.size / inside.size
    if kept == 0:
        return "lost_label", f"keeps none of its {count} voxels on the plan's grid"
    if kept < _MOST * expected:
        return "lost_label", f"keeps {kept / expected:.0%} of its volume ({count} voxels) on the plan's grid"
    if inside.shape == after.shape and kept == count:
        return "", ""
    components, lost, lost_voxels = _components(inside, after)
    words = f"loses {lost} of its {components} components on the plan's grid"
    if lost > _MOST * components and lost_voxels > _MOST * count:
        return "lost_label", words
    if lost > _MOST * components and lost_voxels > _SPECKS * count:
        return "lost_components", words
    return "", ""


def _components(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Components of a mask, those of which another grid of the same edges shows nothing, and the voxels of these."""
    import cc3d  # takes a moment, which a plan that keeps the grid need not wait for

    places = np.nonzero(before)
    box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in places)
    components, count = cc3d.connected_components(np.ascontiguousarray(before[box]), connectivity=26, return_N=True)
    own = components[tuple(axis - part.start for axis, part in zip(places, box, strict=True))]
    there = tuple(
        np.minimum(((axis + 0.5) * new / old).astype(np.intp), new - 1)
        for axis, old, new in zip(places, before.shape, after.shape, strict=True)
    )
    seen = np.bincount(own[after[there]], minlength=count + 1) > 0
    sizes = np.bincount(own, minlength=count + 1)
    lost = ~seen[1:]
    return count, int(lost.sum()), int(sizes[1:][lost].sum())
