"""What of a model's plan fits the data that a training starts from it on: normalisation, spacing and window."""

from __future__ import annotations

import math

from unetr.core.plan.file import parse_plan
from unetr.core.plan.fingerprint import Fingerprint, IntensityStatistics
from unetr.core.plan.schema import ChannelPlan, Plan, Window
from unetr.prepare.measure.scan_facts import Triple, by_axis
from unetr.prepare.measure.structures import share_at_risk
from unetr.prepare.planning.planner import choose_window, median_shape

# Voxels that differ by more than this factor from what the data asks for show other anatomy.
_SPACING_FACTOR = 3.0
# A model's limits serve data whose foreground lies within them but for this share of its range.
_OUTSIDE = 0.25
# And whose spread is within this factor of the model's.
_SPREAD_FACTOR = 4.0
# A window more than this many times longer than the scans would show the network mostly padding.
_WINDOW_FACTOR = 2.0
_KEPT = ("network", "orientation", "crop")


def start_plan(theirs: Plan, planned: Plan, fingerprint: Fingerprint | None) -> Plan:
    """The plan made for a dataset, with a model's network, and with its normalisation and grid where they fit the data.

    Labels, batch, schedule and mirrors are the dataset's own; each choice has its reason. fingerprint: of the dataset.
    """
    reasons = dict(planned.reasons)
    update: dict[str, object] = {name: getattr(theirs, name) for name in _KEPT}
    reasons |= dict.fromkeys(_KEPT, f"that of the model it starts from ({theirs.dataset})")
    update["spacing_mm"], reasons["spacing_mm"] = _spacing(theirs, planned, fingerprint)
    spacing_mm = theirs.spacing_mm if update["spacing_mm"] == theirs.spacing_mm else planned.spacing_mm
    update["window"], reasons["window"] = _window(theirs, spacing_mm, fingerprint)
    channels = []
    same = len(theirs.channels) == len(planned.channels)
    for index, own in enumerate(planned.channels):
        their = theirs.channels[index] if same else None
        channel, why = _channel(their, own, fingerprint)
        channels.append(channel)
        if why:
            reasons[f"channels.{own.name}"] = f"{why}; {reasons.get(f'channels.{own.name}', '')}".rstrip("; ")
    update["channels"] = tuple(channels)
    data = planned.model_dump() | update | {"reasons": reasons}
    return parse_plan(data, f"the plan that starts from the model of {theirs.dataset}")


def _channel(their: ChannelPlan | None, own: ChannelPlan, fingerprint: Fingerprint | None) -> tuple[ChannelPlan, str]:
    """The model's limits where both speak of the same unit and the data lies within them; else the data's own."""
    if their is None:
        return own, "the data's own, since the model has another number of channels"
    if their.normalisation in ("ct", "range") and own.normalisation in ("ct", "range"):
        found = None if fingerprint is None else fingerprint.channels.get(own.name)
        if found is None or _holds(their, found):
            return their.model_copy(
                update={"name": own.name}
            ), f"that of the model ({their.name}), whose unit is the data's"
        return own, (
            f"the data's own: the model clips {their.name} to {their.low:.4g} to {their.high:.4g}, what is labelled "
            f"here has {found.percentile_00_5:.4g} to {found.percentile_99_5:.4g}"
        )
    if their.normalisation == own.normalisation:
        return own, ""
    return own, f"the data's own: the model has {their.normalisation} ({their.name})"


def _holds(channel: ChannelPlan, found: IntensityStatistics) -> bool:
    """Whether clipping to a channel's limits leaves the foreground its contrast."""
    low, high = channel.low or 0.0, channel.high or 0.0
    span = found.percentile_99_5 - found.percentile_00_5
    outside = max(0.0, low - found.percentile_00_5) + max(0.0, found.percentile_99_5 - high)
    std = channel.std if channel.std is not None else (high - low) / 4
    similar = found.std <= _SPREAD_FACTOR * std and (
        channel.normalisation == "range" or std <= _SPREAD_FACTOR * found.std
    )
    scale = (high - low) <= 100 * span if span > 0 else True
    return low <= found.median <= high and outside <= _OUTSIDE * span and similar and scale


def _spacing(theirs: Plan, planned: Plan, fingerprint: Fingerprint | None) -> tuple[Triple, str]:
    model, own = theirs.spacing_mm, planned.spacing_mm
    apart = max(max(a / b, b / a) for a, b in zip(model, own, strict=True))
    if apart > _SPACING_FACTOR:
        why = planned.reasons.get("spacing_mm", "")
        return own, f"the data's own: the model's {by_axis(model)} mm differ {apart:.3g} times from it; {why}".rstrip(
            "; "
        )
    if fingerprint is not None:
        risk, kept = share_at_risk(fingerprint, model), share_at_risk(fingerprint, own)
        if risk > kept:
            return (
                own,
                f"the data's own: at the model's {by_axis(model)} mm {risk:.0%} of the cases may lose small structures",
            )
    return model, f"that of the model it starts from ({theirs.dataset})"


def _window(theirs: Plan, spacing_mm: Triple, fingerprint: Fingerprint | None) -> tuple[Window, str]:
    """The model's, shorter along axes where the scans are much smaller than it; positions are interpolated then."""
    window, kept = theirs.window, f"that of the model it starts from ({theirs.dataset})"
    if fingerprint is None or theirs.network.peer is not None:
        return window, kept
    shape = median_shape(fingerprint, spacing_mm)
    fitting, _ = choose_window(shape, theirs.network.patch, math.prod(window))
    smaller = tuple(
        min(side, fit) if side > _WINDOW_FACTOR * size else side
        for side, fit, size in zip(window, fitting, shape, strict=True)
    )
    if smaller == window:
        return window, kept
    x, y, z = smaller
    return (x, y, z), f"the model's {by_axis(window)} made smaller, since the median volume is {by_axis(shape)} voxels"
