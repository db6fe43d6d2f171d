"""The rule for mirrors: along which axes a scan may be mirrored, in training and for the mean over mirrors."""

from __future__ import annotations

from unetr.core.plan.fingerprint import LabelStatistics

# Mirroring is tested on at least this many cases.
_FEWEST_CASES = 5
# Effect size from which a label is told by its side. With normally spread positions, 2 means that the label lies on
# the same side of the foreground's centroid in 97.7 % of the cases. On the Decathlon's hippocampus, where mirroring
# is known to help left-right and to harm front-back and up-down, the three are 1.5, 7.6 and 3.2.
MIRROR_EFFECT = 2.0


def choose_mirror_axes(labels: list[LabelStatistics], cases: int) -> tuple[tuple[int, ...], str]:
    """The axes along which a mirrored scan could be another patient's, as far as the labels tell.

    For each label and axis, the effect size of its position is |mean| / standard deviation over cases of the signed
    distance from the centroid of all foreground to the label's centroid. At MIRROR_EFFECT or more the label is told
    from the others by its side, and a mirrored scan would teach the wrong label. A label alone cannot be tested so, and
    is not mirrored: what surrounds it may be told from it by its side as well (docs/lab/decisions.md, left atrium).
    """
    if cases < _FEWEST_CASES:
        return (), f"none: {cases} cases are too few to test whether labels are told apart by their side"
    present = [label for label in labels if label.cases > 0]
    if len(present) == 1:
        return (), (
            f"none: {present[0].name} is the only label, so nothing tells whether what lies mirrored beside it could "
            "pass for it, as one chamber of a heart for another"
        )
    rare = [label.name for label in present if label.cases < _FEWEST_CASES]
    if rare or not present:
        what = f"{rare[0]} occurs in fewer than {_FEWEST_CASES} cases" if rare else "no label occurs"
        return (), f"none: {what}, so it cannot be tested whether labels are told apart by their side"
    allowed, parts = [], []
    for axis, name in enumerate(("left-right", "front-back", "up-down")):
        worst = max(present, key=lambda label: abs(label.side[axis]))
        effect = abs(worst.side[axis])
        if effect < MIRROR_EFFECT:
            allowed.append(axis)
        verdict = "allowed" if effect < MIRROR_EFFECT else "forbidden"
        parts.append(f"{name} {verdict} (effect size {effect:.1f}, {worst.name})")
    reason = ", ".join(parts)
    return tuple(allowed), f"{reason}; from {MIRROR_EFFECT:g} on a label is told from the others by its side"
