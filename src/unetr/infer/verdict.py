"""The verdict on a scan: does it look like what the model was trained on? Warns in sentences, changes nothing.

Only what could harm is compared. Scans are turned to the plan's orientation and resampled to its spacing, so the order
in which voxels are stored says nothing; spacing is judged because resampling cannot bring back what was never measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unetr.core.plan.fingerprint import Fingerprint, ScanStatistics
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.core.space.grids import HEADER_NOISE
from unetr.core.space.volume import Volume
from unetr.prepare.measure.scan_facts import ChannelFacts, ScanFacts, Triple, scan_facts

# Thicker slices than training had lack what the network learned to see; half as much again is a usual variation.
COARSER = 1.5
# Finer voxels lose nothing when resampled; three times finer is more likely a wrong header or another kind of scan.
FINER = 3.0
# Twice the largest or half the smallest field of view shows other anatomy than training did.
FIELD = 2.0
# Resampling turns no scan: the network sees a tilt. Below this, patients lie like that.
OBLIQUE_DEGREES = 20.0
# In units of the training scans' own median width (99.5th - 0.5th percentile). Inwards: air or the brightest tissue is
# missing; CT stored without its offset of -1024 is off by 0.4 to 0.8 widths.
MISSING = 0.25
# Outwards: padding or metal reach far, another unit reaches further.
BEYOND = 1.0
# Times the widest training scan: wider than even padding at -3024 and metal at 3071 together make a CT (2 to 4).
SPAN = 5.0
# Where units are arbitrary, positions within the scan's own width are compared.
NEGATIVE = 0.1
MIDDLE = 0.25
# Of neighbouring bright voxels that are equal: at most 0.22 in 8-bit MRI, 0.02 in CT, from 0.97 in label maps.
FLAT = 0.5
# A scan that is nearly all zeros shows the network next to nothing.
ZEROS = 0.98
# Less contrast than this share of what the plan maps to the network's input is another unit, such as 0 to 1.
CONTRAST = 0.05

_AXES = ("left-right", "front-back", "up-down")
# Of the angle between axes that are stored in float32.
_ANGLE_NOISE_DEGREES = 1e-4


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a scan compares with the training scans.

    state: `ok`, all was compared and nothing is unusual; `warned`; `unknown`, nothing is unusual as far as could be
    told, but the training data are not known well enough. warnings: one sentence each, in plain words, found against
    expected, doubts of reading first; for `unknown` one that says what is not known; empty for `ok`. notes: what
    reading did that is no reason for doubt, such as leaving out a localizer.
    """

    state: Literal["ok", "warned", "unknown"]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def judge(scan: Volume, plan: Plan, fingerprint: Fingerprint | None) -> Verdict:
    """Compares a scan [C, X, Y, Z] of finite numbers, as it was read, with the data that the model was trained on.

    fingerprint: of the training data; None for weights converted from elsewhere. Takes the same time for scans of any
    size. Raises ValueError when the number of channels is not the plan's.
    """
    facts = scan_facts(scan)
    warnings = list(scan.doubts)
    notes = scan.notes
    if fingerprint is not None:
        warnings += _spacing(facts, fingerprint) + _field(facts, fingerprint) + _tilt(facts, fingerprint, plan)
    known = fingerprint.scans if fingerprint is not None else {}
    for channel, found in zip(plan.channels, facts.channels, strict=True):
        warnings += _intensities(found, channel, known.get(channel.name))
    if warnings:
        return Verdict("warned", tuple(warnings), notes)
    if fingerprint is None:
        return Verdict(
            "unknown", ("the model has no fingerprint of its training data to compare the scan with",), notes
        )
    if any(channel.name not in known for channel in plan.channels):
        return Verdict(
            "unknown", ("the model's fingerprint is of an older kind that says nothing of intensities",), notes
        )
    return Verdict("ok", (), notes)


def _spacing(facts: ScanFacts, fingerprint: Fingerprint) -> list[str]:
    return _outside("voxel spacing", facts.spacing_mm, fingerprint.spacings_mm, FINER, COARSER)


def _field(facts: ScanFacts, fingerprint: Fingerprint) -> list[str]:
    sizes = zip(fingerprint.shapes, fingerprint.spacings_mm, strict=True)
    fields = [tuple(n * mm for n, mm in zip(shape, spacing, strict=True)) for shape, spacing in sizes]
    return _outside("field of view", facts.field_mm, fields, FIELD, FIELD)


def _outside(what: str, found: Triple, trained: Sequence[Sequence[float]], below: float, above: float) -> list[str]:
    """One warning that names the axes, in mm, where `found` is below min / `below` or above max x `above`."""
    parts = []
    for axis, value, seen in zip(_AXES, found, zip(*trained, strict=True), strict=True):
        low, high = min(seen) / below, max(seen) * above
        # A spacing at a limit must not be judged by its rounding.
        if not low * (1 - HEADER_NOISE) <= value <= high * (1 + HEADER_NOISE):
            parts.append(f"{value:.4g} mm {axis} (training scans {_range(seen)} mm, expected {_range((low, high))} mm)")
    return [f"{what}: {', '.join(parts)}"] if parts else []


def _tilt(facts: ScanFacts, fingerprint: Fingerprint, plan: Plan) -> list[str]:
    if not fingerprint.oblique_degrees:
        return []
    trained = max(fingerprint.oblique_degrees)
    # Training also showed the network scans turned by as much as the augmentation does.
    augment = plan.training.augment
    turned = augment.rotate_degrees if augment.spatial_probability > 0 else 0.0
    allowed = max(OBLIQUE_DEGREES, trained + turned)
    if facts.oblique_degrees <= allowed + _ANGLE_NOISE_DEGREES:
        return []
    return [
        f"tilt: the scan's axes are {facts.oblique_degrees:.0f} degrees off the body's (training scans up to "
        f"{trained:.0f}, expected at most {allowed:.0f} degrees)"
    ]


def _intensities(found: ChannelFacts, channel: ChannelPlan, trained: ScanStatistics | None) -> list[str]:
    """At most one warning per channel, the most telling first: one wrong unit shows in many ways."""
    name = f"intensities of channel {channel.name!r}"
    problem = _not_a_scan(found, trained)
    if not problem and trained is not None:
        absolute = channel.normalisation != "zscore"
        problem = _absolute(found, channel, trained) if absolute else _relative(found, trained)
    problem = problem or _unlike_plan(found, channel)
    return [f"{name}: {problem}"] if problem else []


def _not_a_scan(found: ChannelFacts, trained: ScanStatistics | None) -> str:
    """Label maps and nearly empty scans; not where the training scans were like that."""
    usual_flat, usual_zeros = (max(trained.flat_fractions), max(trained.zero_fractions)) if trained else (0.0, 0.0)
    if found.zero_fraction > ZEROS >= usual_zeros:
        return f"{found.zero_fraction:.2%} of the voxels are zero (expected at most {ZEROS:.0%})"
    if found.flat_fraction > FLAT >= usual_flat:
        equal = f"{found.flat_fraction:.0%} of the neighbouring bright voxels are equal"
        return f"{equal} (expected at most {FLAT:.0%}); is it a label map, not a scan?"
    return ""


def _absolute(found: ChannelFacts, channel: ChannelPlan, trained: ScanStatistics) -> str:
    """For units that mean the same in every scan: do the darkest and brightest voxels lie where training had them?"""
    low, _, high = found.percentiles
    lows, _, highs = zip(*trained.percentiles, strict=True)
    width = _median_width(trained)
    # Where training had voxels that were clipped, others may lie anywhere beyond: they become the same number.
    clips = channel.normalisation in ("ct", "range")
    low_clipped = clips and channel.low is not None and min(lows) <= channel.low
    high_clipped = clips and channel.high is not None and max(highs) >= channel.high
    if high - low > SPAN * max(b - a for a, _, b in trained.percentiles):
        seen = f"{min(lows):.4g} to {max(highs):.4g}"
        return f"the voxels span {low:.4g} to {high:.4g} (training scans {seen}); is it in the same units?"
    if low > max(lows) + MISSING * width or (low < min(lows) - BEYOND * width and not low_clipped):
        return f"the darkest voxels are at {low:.4g} (training scans {_range(lows)}); is it in the same units?"
    if high < min(highs) - MISSING * width or (high > max(highs) + BEYOND * width and not high_clipped):
        return f"the brightest voxels are at {high:.4g} (training scans {_range(highs)}); is it in the same units?"
    return ""


def _relative(found: ChannelFacts, trained: ScanStatistics) -> str:
    """For arbitrary units: only what no shift-free scaling changes."""
    low, middle = _positions(found.percentiles)
    lows, middles = zip(*(_positions(percentiles) for percentiles in trained.percentiles), strict=True)
    if low < min(0.0, *lows) - NEGATIVE:
        return f"the darkest voxels are at {found.percentiles[0]:.4g} (training scans not below 0); is it a CT?"
    if not min(middles) - MIDDLE <= middle <= max(middles) + MIDDLE:
        seen = f"{min(middles):.0%} to {max(middles):.0%}"
        return f"the median is {middle:.0%} of the way from darkest to brightest (training scans {seen})"
    return ""


def _unlike_plan(found: ChannelFacts, channel: ChannelPlan) -> str:
    """What the plan's own limits tell, without any training scan."""
    if channel.normalisation not in ("ct", "range") or channel.low is None or channel.high is None:
        return ""
    low, _, high = found.percentiles
    limits = f"the model uses {channel.low:.4g} to {channel.high:.4g}"
    if high <= channel.low or low >= channel.high:
        return f"99 % of the voxels are {low:.4g} to {high:.4g}, where {limits}; is it in the same units?"
    if high - low < CONTRAST * (channel.high - channel.low):
        return f"nearly all voxels are {low:.4g} to {high:.4g}, where {limits}; is it in the same units?"
    return ""


def _positions(percentiles: Triple) -> tuple[float, float]:
    """The darkest and the middle in units of the scan's width: low / width, (median - low) / width."""
    low, middle, high = percentiles
    width = high - low
    return (low / width, (middle - low) / width) if width > 0 else (0.0, 0.0)


def _median_width(trained: ScanStatistics) -> float:
    widths = sorted(high - low for low, _, high in trained.percentiles)
    return widths[len(widths) // 2]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} to {high}"
