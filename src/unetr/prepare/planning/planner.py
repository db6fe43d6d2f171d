"""From a fingerprint to a plan: each choice is one short function that returns the choice and its reason."""

from __future__ import annotations

import math

import numpy as np

from unetr.core.plan.file import parse_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import InferencePlan, Plan, PretrainingPlan, TrainingPlan, Window
from unetr.core.plan.targets import output_count
from unetr.core.space.frames import taken
from unetr.core.space.grids import HEADER_NOISE, nearest_whole, significant
from unetr.core.text.records import valid
from unetr.errors import InputError
from unetr.prepare.datasets.dataset import BACKGROUND, Dataset
from unetr.prepare.measure.scan_facts import Triple, by_axis
from unetr.prepare.measure.structures import spare_structures
from unetr.prepare.planning.budget import Budget, fit_augmentation, fit_spacing
from unetr.prepare.planning.channels import choose_channels
from unetr.prepare.planning.mirrors import choose_mirror_axes
from unetr.prepare.planning.names import AUTO
from unetr.prepare.planning.presets import PRESETS, Preset, choose_preset
from unetr.prepare.planning.training_memory import TrainingMemory, training_memory

# An axis is anisotropic when its spacing is this many times the finest.
_ANISOTROPY = 3.0
_FEWEST_PATCHES = 2
# Finer voxels than this many times the scans' own would be interpolation only.
_FINEST = 2.0

_WHY_UNLABELLED = {
    "training.foreground_fraction": "has no effect: nothing is labelled, so windows lie anywhere",
    "pretraining": "there are no labels: the network learns to predict the "
    f"{PretrainingPlan().masked_fraction:.0%} of the patches that are hidden from it",
}


@valid("the dataset's plan")
def make_plan(
    dataset: Dataset,
    fingerprint: Fingerprint,
    *,
    preset: str = AUTO,
    budget: Budget | None = None,
    processes: int = 1,
    free_gb: float = math.inf,
) -> Plan:
    """The plan for a dataset, each choice with its reason in `plan.reasons`.

    processes: how many share a batch, so that it has a window for each. free_gb: memory that each of them has; windows
    and batches are made smaller to train in it. With a budget the voxels are made coarser where it would not pass over
    the data often enough for their number, and augmentation stronger where it would see few cases too often.

    Raises InputError for an unknown preset or a fingerprint of another dataset.
    """
    chosen = _preset_for(preset, dataset, fingerprint)
    network = chosen.network
    auto = " (chosen by auto)" if preset == AUTO else ""
    reasons = {"network": f"preset {network.preset}: {chosen.why}{auto}"} | _why_placed(fingerprint)
    memory = training_memory(network, output_count(dataset.labels, dataset.regions), free_gb)
    spacing_mm, window, why_grid = choose_grid(fingerprint, chosen, memory, budget)
    channels, why_channels = choose_channels(dataset, fingerprint)
    reasons |= why_grid | why_channels
    mirror_axes, reasons["mirror_axes"] = choose_mirror_axes(fingerprint.labels, fingerprint.cases)
    batch_size, reasons["training.batch_size"] = choose_batch_size(window, chosen, memory, processes)
    augment = chosen.training.augment.model_copy(update={"mirror_axes": mirror_axes})
    if budget is not None:
        augment, reasons["training.augment"] = fit_augmentation(augment, channels, window, fingerprint.cases, budget)
    reasons |= _WHY_UNLABELLED if dataset.unlabelled else _why_centred(fingerprint, chosen.training)
    reasons["inference.overlap"] = "neighbouring windows share half their length, as usual for sliding windows"
    return Plan(
        dataset=dataset.name,
        channels=channels,
        labels=dataset.labels,
        regions=dataset.regions,
        ignore_label=dataset.ignore_label,
        transform=taken(),
        crop="content",
        spacing_mm=spacing_mm,
        window=window,
        network=network,
        training=chosen.training.model_copy(update={"batch_size": batch_size, "augment": augment}),
        inference=InferencePlan(mirror_axes=mirror_axes),
        pretraining=PretrainingPlan() if dataset.unlabelled else None,
        reasons=reasons,
    )


def without_labels(plan: Plan, source: str) -> Plan:
    """A plan for the masked-volume pretraining of another plan's network, on its grid and with its normalisation.

    A plan that is one already stays as it is. Raises InputError naming `source` for a network that cannot be
    pretrained.
    """
    if plan.pretraining is not None:
        return plan
    data = plan.model_dump(mode="json", exclude={"regions", "ignore_label", "postprocess"})
    data["training"]["loss"]["class_weights"] = None
    reasons = plan.reasons | _WHY_UNLABELLED
    return parse_plan(data | {"labels": {BACKGROUND: 0}, "pretraining": {}, "reasons": reasons}, source)


def choose_grid(
    fingerprint: Fingerprint, preset: Preset, memory: TrainingMemory, budget: Budget | None = None
) -> tuple[Triple, Window, dict[str, str]]:
    """Spacing in mm and window of a preset's network, and the reasons for both."""
    spacing_mm, why_spacing = choose_spacing(fingerprint.spacings_mm)
    spacing_mm, thinner = spare_structures(spacing_mm, fingerprint)
    why_spacing += thinner
    smallest = (_FEWEST_PATCHES * preset.network.patch) ** 3
    most = int(min(preset.window_voxels, max(smallest, memory.most_voxels)))
    if budget is not None:
        spacing_mm, coarser = fit_spacing(spacing_mm, fingerprint, budget, most)
        why_spacing += coarser
    shape = median_shape(fingerprint, spacing_mm)
    window, why_window = choose_window(shape, preset.network.patch, most)
    if most < preset.window_voxels:
        why_window += f"; there is memory for {most} voxels, where the preset has up to {preset.window_voxels}"
    if preset.network.decoder != "stem":  # a stem sees single voxels, and resampled labels lose more than it gains
        spacing_mm, finer = fill_window(spacing_mm, shape, window)
        why_spacing += finer
    return spacing_mm, window, {"spacing_mm": why_spacing, "window": why_window}


def choose_spacing(spacings_mm: list[Triple]) -> tuple[Triple, str]:
    """The median spacing per canonical axis; the 10th percentile along an axis more than 3 times coarser."""
    spacings = np.array(spacings_mm)
    median = np.median(spacings, axis=0)
    coarse = median > _ANISOTROPY * (1 + HEADER_NOISE) * median.min()
    target = np.where(coarse, np.percentile(spacings, 10, axis=0), median)
    # Not finer than the finest axis: a single thin-sliced scan must not ask for slices nobody else has.
    target = np.maximum(target, median.min())
    right, front, up = (significant(value, 6) for value in target)
    reason = "median spacing of the scans along each axis"
    if coarse.any():
        axes = " and ".join(name for name, is_coarse in zip("RAS", coarse, strict=True) if is_coarse)
        reason += f"; along {axes}, more than {_ANISOTROPY:g} times coarser than the finest, the 10th percentile"
    return (right, front, up), reason


def median_shape(fingerprint: Fingerprint, spacing_mm: Triple) -> Triple:
    """Median over cases of the voxels along each axis after resampling."""
    sizes = np.array(fingerprint.shapes) * np.array(fingerprint.spacings_mm) / np.array(spacing_mm)
    x, y, z = (float(size) for size in np.median([[nearest_whole(size) for size in case] for case in sizes], axis=0))
    return x, y, z


def choose_window(shape: Triple, patch: int, most_voxels: int) -> tuple[Window, str]:
    """The smallest multiples of the patch that hold the median volume, the longest axis cut until the budget holds."""
    sides = [max(_FEWEST_PATCHES, math.ceil(size / patch)) * patch for size in shape]
    whole = list(sides)
    while math.prod(sides) > most_voxels and max(sides) > _FEWEST_PATCHES * patch:
        sides[sides.index(max(sides))] -= patch
    reason = f"the median volume is {by_axis(shape)} voxels, rounded up to the patch ({patch}): {by_axis(whole)}"
    if sides != whole:
        reason += f"; the longest axis cut until at most {most_voxels} voxels remained"
    return (sides[0], sides[1], sides[2]), reason


def fill_window(spacing_mm: Triple, shape: Triple, window: Window) -> tuple[Triple, str]:
    """A finer spacing where the median volume is smaller than the window, so that it fills it.

    What the window has beyond the volume would be zeros that cost as much as voxels; with finer voxels a patch covers
    less anatomy instead. All axes by one factor, at most 2. The same spacing where a volume is larger than the window.
    """
    factor = min(_FINEST, *(side / size for side, size in zip(window, shape, strict=True)))
    if factor <= 1:
        return spacing_mm, ""
    right, front, up = (significant(length / factor, 4) for length in spacing_mm)
    reason = f"; made {factor:.3g} times finer, so that the median volume ({by_axis(shape)} voxels) fills the window"
    return (right, front, up), reason


def choose_batch_size(window: Window, preset: Preset, memory: TrainingMemory, processes: int = 1) -> tuple[int, str]:
    """As many windows as the preset's batch of voxels and the memory of each process hold, at least one for each."""
    voxels = math.prod(window)
    batch = min(preset.largest_batch, round(preset.batch_voxels / voxels))
    if memory.most_voxels < batch * voxels / processes:
        batch = processes * int(memory.most_voxels / voxels)
    batch = max(batch, processes)
    windows = "1 window" if batch == 1 else f"{batch} windows"
    taken_gb = memory.taken_gb(window, math.ceil(batch / processes))
    reason = f"{windows} of {by_axis(window)} voxels; training takes about {taken_gb:.1f} GB of memory"
    if processes > 1:
        reason += f" in each of {processes} processes"
    if taken_gb > memory.free_gb:
        reason += (
            f", more than the {memory.free_gb:.1f} GB that are free: close other programs or take a smaller preset"
        )
    return batch, reason


def _why_placed(fingerprint: Fingerprint) -> dict[str, str]:
    border = "the border of zeros is left out as background"
    return {
        "orientation": f"RAS for all; the scans are {_counted(fingerprint.orientations)}",
        "crop": f"{border}; the scans without it hold {fingerprint.content_fraction:.1%} of their voxels",
    }


def _why_centred(fingerprint: Fingerprint, training: TrainingPlan) -> dict[str, str]:
    filled = sum(label.voxel_fraction for label in fingerprint.labels)
    centred = f"{training.foreground_fraction:.0%} of the windows are centred on a labelled voxel"
    return {"training.foreground_fraction": f"{centred}, since labels fill {filled:.2%} of the voxels"}


def _preset_for(name: str, dataset: Dataset, fingerprint: Fingerprint) -> Preset:
    """Raises InputError as make_plan does."""
    preset = PRESETS.get(choose_preset(name))
    if preset is None:
        raise InputError(f"preset {name!r} is unknown; expected {AUTO}, {', '.join(PRESETS)}")
    if set(fingerprint.channels) != set(dataset.channel_names):
        raise InputError(
            f"{dataset.root}: the fingerprint has the channels {', '.join(fingerprint.channels)}; expected "
            f"{', '.join(dataset.channel_names)}; measure it again"
        )
    return preset


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{code} ({count})" for code, count in counts.items())
