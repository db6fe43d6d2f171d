"""Several networks trained alike, side by side: a table, a document for machines, and Dice against minutes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unetr.core.colours import class_colour
from unetr.core.text.numbers import number, with_interval
from unetr.evaluation.results import Results
from unetr.evaluation.summary import PairedDifference, Statistic, paired_difference
from unetr.report.plots import figure_with_panels, legend, png_of

_INK = "#78838f"
SHOWN_METRICS = ("dice", "hd95_mm", "nsd")


@dataclass(frozen=True, slots=True)
class Contestant:
    """One network's part in a comparison, over all folds.

    results: of the validation cases of all folds. curve: per fold, (minutes of training, Dice of a validation during
    it) and the final score last. minutes: of training, mean over folds. steps: mean over folds. peak_mb: largest
    resident memory of a training, NaN where no system told it. latency_s: of one window in torch, fp32.
    """

    name: str
    results: Results
    curve: tuple[tuple[tuple[float, float], ...], ...]
    minutes: float
    steps: float
    peak_mb: float
    parameters: int
    flops: int
    latency_s: float


def difference_to(best: Contestant, other: Contestant) -> PairedDifference:
    """Mean over cases of the difference in Dice (mean over classes); cases that only one has are left out."""
    first, second = _case_dice(best.results), _case_dice(other.results)
    cases = [case for case in first if case in second]
    return paired_difference([first[case] for case in cases], [second[case] for case in cases])


def ranked(contestants: Sequence[Contestant]) -> list[Contestant]:
    """By mean Dice, best first; undefined last."""
    return sorted(contestants, key=lambda c: -math.inf if math.isnan(c.results.mean_dice) else -c.results.mean_dice)


def comparison_document(contestants: Sequence[Contestant], conditions: dict[str, Any]) -> dict[str, Any]:
    """Everything as plain data; conditions: what was the same for all."""
    order = ranked(contestants)
    rows = []
    for found in order:
        behind = difference_to(order[0], found)
        rows.append(
            {
                "network": found.name,
                "mean_dice": found.results.mean_dice,
                "foreground": {m: _interval(found.results.foreground[m]) for m in SHOWN_METRICS},
                "classes": {
                    summary.label: {m: _interval(summary.metrics[m]) for m in SHOWN_METRICS}
                    for summary in found.results.classes
                },
                "behind_best": {
                    "mean": behind.mean,
                    "ci_low": behind.ci_low,
                    "ci_high": behind.ci_high,
                    "cases": behind.n,
                },
                "minutes": found.minutes,
                "steps": found.steps,
                "parameters": found.parameters,
                "flops": found.flops,
                "peak_mb": found.peak_mb,
                "latency_s": found.latency_s,
                "curve": found.curve,
            }
        )
    return {"format": "unetr comparison", "format_version": 1, "conditions": conditions, "networks": rows}


def comparison_table(contestants: Sequence[Contestant]) -> tuple[list[str], list[list[str]]]:
    """Header and rows, best first. Behind: the best's Dice minus this one's. Both with their 95 % intervals."""
    order = ranked(contestants)
    labels = [summary.label for summary in order[0].results.classes] if order else []
    header = ["network", "Dice (95 % interval)", *(f"Dice {label}" for label in labels), "behind the best by"]
    header += ["HD95 mm", "NSD", "trained min", "steps", "parameters M", "GFLOP/window", "s/window", "peak GB"]
    rows = []
    for found in order:
        dice = found.results.foreground["dice"]
        behind = difference_to(order[0], found)
        rows.append(
            [
                found.name,
                with_interval(found.results.mean_dice, dice.ci_low, dice.ci_high, 3),
                *(number(summary.metrics["dice"].mean, 3) for summary in found.results.classes),
                "" if found is order[0] else with_interval(behind.mean, behind.ci_low, behind.ci_high, 3),
                *(
                    number(found.results.foreground[metric].mean, digits)
                    for metric, digits in (("hd95_mm", 2), ("nsd", 3))
                ),
                f"{found.minutes:.1f}",
                f"{found.steps:.0f}",
                f"{found.parameters / 1e6:.1f}",
                f"{found.flops / 1e9:.1f}",
                f"{found.latency_s:.3f}",
                number(found.peak_mb / 1e3, 2),
            ]
        )
    return header, rows


def comparison_png(contestants: Sequence[Contestant]) -> bytes:
    """Dice of validations against minutes of training, a line per network and fold; the end is the final score."""
    figure, (axes,) = figure_with_panels(1, 7.0, 4.2)
    for position, found in enumerate(ranked(contestants)):
        for fold, points in enumerate(found.curve):
            minutes, dice = np.array(points).reshape(-1, 2).T
            label = f"{found.name} ({number(found.results.mean_dice, 3)})" if fold == 0 else None
            axes.plot(
                minutes, dice, color=class_colour(position), linewidth=1.6, marker="o", markersize=3.5, label=label
            )
    axes.set_xlabel("minutes of training", color=_INK)
    axes.set_ylabel("Dice of validation cases", color=_INK)
    axes.grid(color=_INK, alpha=0.25)
    legend(axes)
    return png_of(figure)


def _case_dice(results: Results) -> dict[str, float]:
    by_case: dict[str, list[float]] = {case: [] for case in results.cases}
    for score in results.scores:
        by_case[score.case].append(score.dice)
    return {case: float(np.mean(values)) for case, values in by_case.items()}


def _interval(found: Statistic) -> dict[str, float | int]:
    return {"mean": found.mean, "ci_low": found.ci_low, "ci_high": found.ci_high, "cases": found.n}
