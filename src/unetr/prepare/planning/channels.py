"""How each channel is normalised, from its name and from what was measured; each choice with its reason."""

from __future__ import annotations

import math
import re

import numpy as np

from unetr.core.plan.fingerprint import ContrastStatistics, Fingerprint, IntensityStatistics
from unetr.core.plan.schema import ChannelPlan
from unetr.prepare.datasets.dataset import Dataset
from unetr.prepare.measure.contrast import USUAL_CLIP

# A clip that takes this much of a label's brightness, in deviations of the scan, is made wider. The hippocampus, the
# left atrium and the ACDC's hearts lose at most 0.08.
_MOST_LOST = 0.2
# A channel that is nearly all one value in this share of the scans is sparse.
_SPARSE_SHARE = 0.1
# Scans whose 99.5th percentiles differ by more than this factor are in no common unit, whatever the channel's name.
_NO_UNIT = 100.0
# Of the cases: a clip in units holds the labels of all but these, lest one odd case decide.
_ODD_PERCENT = 5.0
# What a wide clip spans at most. Few bright voxels at 26 deviations: 300 steps of `tiny` reach a Dice of 0.63, at 5 of
# 0.76 to 0.94, at 3 of 0.94 and 0.98: their neighbours are told from them only where the rest is quiet.
_MOST_DEVIATIONS = 3.0
# A label that lies no further beyond the usual clip than this does not set the scale of the scan.
_FAR = 2.0
_WHOLE = (0.0, 100.0)
# The largest value of a byte, of which colours are made.
_RGB = 255

Choice = tuple[ChannelPlan, str]


def choose_channels(dataset: Dataset, fingerprint: Fingerprint) -> tuple[tuple[ChannelPlan, ...], dict[str, str]]:
    """How each channel is normalised, in the dataset's order, and the reasons."""
    chosen = {
        name: choose_normalisation(
            name, fingerprint.channels[name], fingerprint.contrast.get(name), fingerprint.intensity_scale_spread
        )
        for name in dataset.channel_names
    }
    reasons = {f"channels.{name}": reason for name, (_, reason) in chosen.items()}
    return tuple(plan for plan, _ in chosen.values()), reasons


def choose_normalisation(
    name: str, found: IntensityStatistics, contrast: ContrastStatistics | None = None, scale_spread: float = 1.0
) -> Choice:
    """Masks and label maps keep their values, CT its units; everything else is normalised scan by scan.

    contrast: where the labels lie in the scans, None in old fingerprints. scale_spread: of the fingerprint.
    """
    lowered = name.lower()
    # Channels of one name are told apart by their numbers.
    if re.fullmatch("nonorm(_[0-9]+)?", lowered):
        return ChannelPlan(name=name, normalisation="none"), "the channel's name asks for no normalisation"
    if re.fullmatch("rgb_to_0_1(_[0-9]+)?", lowered) and found.minimum >= 0 and found.maximum <= _RGB:
        plan = ChannelPlan(name=name, normalisation="range", low=0, high=_RGB)
        return plan, f"the channel's name asks for 0 to {_RGB} as 0 to 1"
    if contrast is not None and len(contrast.values) > 1:
        return _few_values(name, contrast)
    if re.search(r"(?<![a-z])ct(?![a-z])|computed tomography", lowered) is None:
        return _zscore(name, contrast, "not named CT: units are arbitrary")
    if found.percentile_00_5 >= found.percentile_99_5 or found.std <= 0:
        return _zscore(name, contrast, "CT, but the foreground has one single intensity")
    if scale_spread > _NO_UNIT:
        return _zscore(name, contrast, f"named CT, but scans differ {scale_spread:.3g} times in scale: no common unit")
    return _ct(name, found, contrast)


def _few_values(name: str, contrast: ContrastStatistics) -> Choice:
    low, high = contrast.values[0], contrast.values[-1]
    what = f"{len(contrast.values)} values in all scans ({low:g} to {high:g})"
    counted = all(value == round(value) for value in contrast.values) and high - low <= len(contrast.values) + 1
    if contrast.values_per_scan <= 2 < len(contrast.values) and not counted:
        return _wide(
            name, _WHOLE
        ), f"{what}, two in each: masks that were written with different values, so each is scaled by itself"
    plan = ChannelPlan(name=name, normalisation="range", low=low, high=high)
    return plan, f"{what}: a mask or a label map, so its values are kept, scaled to 0..1, and nothing is clipped"


def _ct(name: str, found: IntensityStatistics, contrast: ContrastStatistics | None) -> Choice:
    low, high, std = found.percentile_00_5, found.percentile_99_5, found.std
    reason = "CT: Hounsfield units are comparable, so clipping and scaling come from the foreground of all cases"
    if contrast is not None and contrast.darkest:
        darkest = float(np.percentile(contrast.darkest, _ODD_PERCENT))
        brightest = float(np.percentile(contrast.brightest, 100 - _ODD_PERCENT))
        if darkest < low - _MOST_LOST * found.std or brightest > high + _MOST_LOST * found.std:
            reason += f"; {low:.4g} to {high:.4g} would have cut off a small label, so wider"
            low, high = min(low, darkest), max(high, brightest)
            std = max(std, (high - low) / _MOST_DEVIATIONS)
    return ChannelPlan(name=name, normalisation="ct", low=low, high=high, mean=found.mean, std=std), reason


def _zscore(name: str, contrast: ContrastStatistics | None, why: str) -> Choice:
    reason = f"{why}, so each scan is normalised by its own mean and deviation"
    clip, why_clip = (USUAL_CLIP, "") if contrast is None else choose_clip(contrast)
    if clip == USUAL_CLIP:
        return ChannelPlan(name=name, normalisation="zscore"), reason
    if contrast is not None and clip != _WHOLE and max(*contrast.low_losses, *contrast.high_losses) < _FAR:
        return ChannelPlan(name=name, normalisation="zscore", clip_percentiles=clip), reason + why_clip
    return _wide(name, clip), reason + why_clip


def _wide(name: str, clip: tuple[float, float]) -> ChannelPlan:
    return ChannelPlan(name=name, normalisation="zscore", clip_percentiles=clip, most_deviations=_MOST_DEVIATIONS)


def choose_clip(contrast: ContrastStatistics) -> tuple[tuple[float, float], str]:
    """The percentiles to which z-score clips, the usual ones wherever they take nothing of any label."""
    cases = len(contrast.high_percentiles)
    if contrast.collapsed and contrast.collapsed >= _SPARSE_SHARE * cases:
        return _WHOLE, (
            f"; sparse: in {contrast.collapsed} of {cases} scans all but a twentieth of the voxels are equal, so "
            "nothing is clipped"
        )
    lows = _lost(contrast.low_percentiles, contrast.low_losses)
    highs = _lost([100 - percentile for percentile in contrast.high_percentiles], contrast.high_losses)
    low = _half(min(lows)) if lows else USUAL_CLIP[0]
    high = round(100 - _half(min(highs)), 10) if highs else USUAL_CLIP[1]
    if (low, high) == USUAL_CLIP:
        return USUAL_CLIP, ""
    lost = max(*contrast.low_losses, *contrast.high_losses)
    usual = f"{USUAL_CLIP[0]:g} and {USUAL_CLIP[1]:g}"
    return (low, high), (
        f"; clipped at the percentiles {low:g} and {high:.10g}, since at {usual} a label loses up to "
        f"{lost:.2g} deviations of its brightness in {max(len(lows), len(highs))} of {cases} scans"
    )


def _lost(tails: list[float], losses: list[float]) -> list[float]:
    """The share of the voxels beyond the clip that is needed, per cent, of the cases in which the usual one harms."""
    return [tail for tail, loss in zip(tails, losses, strict=True) if loss > _MOST_LOST]


def _half(tail: float) -> float:
    """Half of a tail, in one digit, rounded down: resampling moves percentiles a little."""
    if tail <= 0:
        return 0.0
    digit = 10.0 ** math.floor(math.log10(tail / 2))
    return round(math.floor(tail / 2 / digit + 1e-6) * digit, 12)
