"""Scores of cases, their summary per class, and the two files they are kept in (results.json, results.csv).

Knows no voxels. NaN means undefined: null in JSON, an empty cell in CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from unetr.core.files.atomic import write_text
from unetr.core.text.numbers import defined
from unetr.core.text.reading import read_json
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError, MachineError
from unetr.evaluation.summary import METRICS, Statistic, case_means, statistic
from unetr.printable import csv_cell, printable_json

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class in one case.

    label: the class's name. values: the label values that make it up, several for an overlapping region.
    dice, iou, nsd: 0..1. hd95_mm, assd_mm: surface distances. NaN where undefined: all five when the class is neither
    in the prediction nor in the truth, the three surface metrics when it is in one only.
    tp, fp, fn: voxels. prediction_ml, truth_ml: volumes.
    """

    case: str
    label: str
    values: tuple[int, ...]
    dice: float
    iou: float
    hd95_mm: float
    assd_mm: float
    nsd: float
    tp: int
    fp: int
    fn: int
    prediction_ml: float
    truth_ml: float

    @property
    def empty(self) -> str:
        """Where the class is missing: "both", "prediction", "truth", or "" when it is in both."""
        in_prediction, in_truth = self.tp + self.fp > 0, self.tp + self.fn > 0
        if in_prediction and in_truth:
            return ""
        return "prediction" if in_truth else "truth" if in_prediction else "both"


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """One class over all cases. metrics: name of a metric -> its statistic.

    empty_both, empty_prediction, empty_truth: cases in which the class is missing there.
    """

    label: str
    values: tuple[int, ...]
    cases: int
    empty_both: int
    empty_prediction: int
    empty_truth: int
    metrics: dict[str, Statistic]


@dataclass(frozen=True, slots=True)
class Results:
    """What `unetr evaluate` found.

    classes: summary of each class; the background is never one of them. foreground: metric -> statistic over cases of
    the case's mean over classes. missing: cases without a prediction, scored as empty. extra: predictions without
    a truth, not scored. failed: cases that could not be scored -> why. notes: what was done to a file on the way.
    """

    tolerance_mm: float
    scores: tuple[ClassScore, ...]
    classes: tuple[ClassSummary, ...]
    foreground: dict[str, Statistic]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def mean_dice(self) -> float:
        """Mean over the foreground classes of the class's mean Dice; NaN when none is defined."""
        return mean_foreground_dice(self.scores)

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the scored cases, in order."""
        return tuple(dict.fromkeys(score.case for score in self.scores))


def summarise(
    scores: Sequence[ClassScore], tolerance_mm: float, missing: Sequence[str] = (), extra: Sequence[str] = ()
) -> Results:
    """Gathers scores of foreground classes into Results. The same scores give the same numbers: the seed is fixed."""
    by_label: dict[str, list[ClassScore]] = {}
    for score in scores:
        by_label.setdefault(score.label, []).append(score)
    classes = [_summarise_class(label, group) for label, group in by_label.items()]
    cases = list(dict.fromkeys(score.case for score in scores))
    foreground = {}
    for metric in METRICS:
        table = {(score.case, score.label): getattr(score, metric) for score in scores}
        rows = [[table.get((case, label), math.nan) for label in by_label] for case in cases]
        foreground[metric] = statistic(case_means(rows))
    return Results(tolerance_mm, tuple(scores), tuple(classes), foreground, tuple(missing), tuple(extra))


def mean_foreground_dice(scores: Sequence[ClassScore]) -> float:
    """Mean over classes of the class's mean Dice over cases; undefined values and classes are left out.

    NaN when no Dice is defined.
    """
    by_label: dict[str, list[float]] = {}
    for score in scores:
        if not math.isnan(score.dice):
            by_label.setdefault(score.label, []).append(score.dice)
    means = [sum(values) / len(values) for values in by_label.values()]
    return sum(means) / len(means) if means else math.nan


def worst_cases(results: Results, count: int) -> list[tuple[str, float]]:
    """The cases with the lowest mean Dice over classes, worst first: (case, mean Dice). Undefined ones are left out."""
    means = {case: mean_foreground_dice([s for s in results.scores if s.case == case]) for case in results.cases}
    defined = [(case, dice) for case, dice in means.items() if not math.isnan(dice)]
    return sorted(defined, key=lambda item: (item[1], item[0]))[:count]


def results_to_json(results: Results) -> str:
    """Strict JSON text (no NaN)."""
    document = {"format": "unetr results", "format_version": FORMAT_VERSION, **asdict(results)}
    document["mean_dice"] = results.mean_dice
    text = json.dumps(defined(document), indent=1, allow_nan=False, ensure_ascii=False)
    return printable_json(text) + "\n"


def results_to_csv_rows(results: Results) -> list[list[str]]:
    """A header and one row per case and class; undefined values are empty cells, and no name is a formula."""
    names = [field.name for field in fields(ClassScore)]
    rows = [[_cell(getattr(score, name)) for name in names] for score in results.scores]
    return [names, *rows]


class UnwrittenScoresError(MachineError):
    """Scores that were found and could not be written; what computed them for long need not lose them."""

    def __init__(self, message: str, results: Results) -> None:
        super().__init__(message)
        self.results = results


def write_results(folder: Path, results: Results) -> tuple[Path, Path]:
    """Writes results.json and results.csv into `folder`, each atomically. Raises UnwrittenScoresError."""
    json_path, csv_path = folder / "results.json", folder / "results.csv"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(results_to_csv_rows(results))
    try:
        write_text(json_path, results_to_json(results))
        write_text(csv_path, text.getvalue())
    except MachineError as error:
        raise UnwrittenScoresError(str(error), results) from error
    return json_path, csv_path


@reads_untrusted("scores (results.json)")
def read_results(path: Path) -> Results:
    """Reads a results.json that `write_results` wrote; summarises its scores anew. Raises InputError."""
    document = read_json(path, "scores (results.json)")
    try:
        if not isinstance(document, dict) or document["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: is not results.json of version {FORMAT_VERSION}; score the predictions again")
        scores = [_score(row) for row in document["scores"]]
        found = summarise(scores, float(document["tolerance_mm"]), document["missing"], document["extra"])
        return replace(found, failed=dict(document.get("failed", {})), notes=tuple(document.get("notes", ())))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not results.json as this program writes it: {error!r}") from None


def _summarise_class(label: str, scores: Sequence[ClassScore]) -> ClassSummary:
    empty = [score.empty for score in scores]
    return ClassSummary(
        label=label,
        values=scores[0].values,
        cases=len(scores),
        empty_both=empty.count("both"),
        empty_prediction=empty.count("prediction"),
        empty_truth=empty.count("truth"),
        metrics={metric: statistic([getattr(score, metric) for score in scores]) for metric in METRICS},
    )


def _score(row: dict[str, Any]) -> ClassScore:
    row = {name: math.nan if value is None else value for name, value in row.items()}
    return ClassScore(**{**row, "values": tuple(row["values"])})


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return " ".join(str(part) for part in value) if isinstance(value, tuple) else csv_cell(str(value))
