"""The plan and the fingerprint as tables that a person can read."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.report.text import Html, element, joined, table

# The plan's own bookkeeping, and what other parts of the page show.
_NOT_SHOWN = ("plan_version", "reasons", "dataset")


def plan_section(plan: Plan) -> Html:
    """Every choice of the plan with its reason.

    The reason for a group of choices ("network") stands in the group's first row, that for a choice which occurs in
    several groups ("mirror_axes") at the first of them.
    """
    choices = _flat(json.loads(plan.model_dump_json(exclude=set(_NOT_SHOWN))))
    reasons = dict(plan.reasons)
    rows: list[tuple[object, object, object]] = []
    for key, value in choices.items():
        groups = [key.rsplit(".", depth)[0] for depth in range(1, key.count(".") + 1)]
        found = [reasons.pop(name) for name in [key, *groups, key.rsplit(".", 1)[-1]] if name in reasons]
        rows.append((element("code", key), value, " ".join(found)))
    # A reason whose key is no choice of the plan is still a reason: it must not get lost.
    rows += [(element("code", key), "", reason) for key, reason in reasons.items()]
    return table(["choice", "value", "reason"], rows, "plan")


def data_section(plan: Plan, fingerprint: Fingerprint | None, description: str) -> Html:
    """What is known of the dataset: its description, and what was measured."""
    parts = [element("p", description)] if description else []
    if fingerprint is None:
        labels = [(name, value) for name, value in plan.labels.items()]
        return joined([*parts, table(["label", "value"], labels, "numbers")])
    orientations = ", ".join(f"{code} ({count})" for code, count in fingerprint.orientations.items())
    facts = [
        ("dataset", fingerprint.dataset),
        ("cases", fingerprint.cases),
        ("voxels", _spread(fingerprint.shapes, 0)),
        ("spacing (mm)", _spread(fingerprint.spacings_mm, 3)),
        ("orientations", orientations),
        ("largest over smallest intensity scale", f"{fingerprint.intensity_scale_spread:.3g}"),
    ]
    channels = [
        (name, *(f"{value:.4g}" for value in (c.minimum, c.percentile_00_5, c.median, c.percentile_99_5, c.maximum)),
         f"{c.mean:.4g} ± {c.std:.4g}")
        for name, c in fingerprint.channels.items()
    ]  # fmt: skip
    labels_measured = [
        (label.name, label.value, f"{label.cases} of {fingerprint.cases}", f"{label.voxel_fraction:.2%}",
         f"{label.median_volume_ml:.3g}")
        for label in fingerprint.labels
    ]  # fmt: skip
    return joined(
        [
            *parts,
            table([], facts, "facts"),
            element("h3", "Intensities inside the labels"),
            table(["channel", "min", "0.5 %", "median", "99.5 %", "max", "mean ± std"], channels, "numbers"),
            element("h3", "Labels"),
            table(["label", "value", "in cases", "share of voxels", "median volume (ml)"], labels_measured, "numbers"),
        ]
    )


def _spread(sizes: Sequence[tuple[float, float, float]], digits: int) -> str:
    """Median and range per axis: 35×50×36 (30–42 × 44–58 × 28–44)."""
    table_of_sizes = np.array(sizes, dtype=float).reshape(-1, 3)
    if not len(table_of_sizes):
        return "–"

    def text(value: float) -> str:
        return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"

    median = "×".join(text(value) for value in np.median(table_of_sizes, axis=0))
    low, high = table_of_sizes.min(axis=0), table_of_sizes.max(axis=0)
    if np.array_equal(low, high):
        return f"{median} in all cases"
    ranges = " × ".join(f"{text(a)}–{text(b)}" for a, b in zip(low, high, strict=True))
    return f"{median} (median; {ranges})"


def _flat(data: object, prefix: str = "") -> dict[str, str]:
    """Nested data as one row per choice that is made; a list of numbers is one choice, named entries go by name."""
    if isinstance(data, dict) and data:
        items = [(str(key), value) for key, value in data.items()]
    elif isinstance(data, list) and data and all(isinstance(entry, dict) for entry in data):
        items = [(str(entry.get("name", i)), {k: v for k, v in entry.items() if k != "name"}) for i, entry in
                 enumerate(data)]  # fmt: skip
    else:
        return {} if data is None or data == {} else {prefix: _plain(data)}
    return {key: text for name, value in items for key, text in _flat(value, f"{prefix}.{name}".lstrip(".")).items()}


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "none" if not value else ", ".join(_plain(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
