"""unetr evaluate: predictions against labels, per case and class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr.app.options import Json, Overwrite, TransformName, finite, transform_named
from unetr.app.printing import counted, number, print_json, print_table, say
from unetr.app.progress import progress
from unetr.app.training_view import print_scores
from unetr.core.space.frames import taking
from unetr.errors import BatchError, InputError

if TYPE_CHECKING:
    from unetr.evaluation.results import Results


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predicted label files: a folder or a file.", show_default=False)],
    labels: Annotated[Path, typer.Argument(help="True label files: a folder or a file.", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write results.json and results.csv here.")] = None,
    tolerance_mm: Annotated[
        float, typer.Option(help="Tolerance of the surface Dice (NSD) in mm.", min=0, callback=finite)
    ] = 2.0,
    plan: Annotated[
        Path | None, typer.Option(help="A plan whose label names, regions and ignore label hold for both.")
    ] = None,
    ignore_label: Annotated[
        int | None, typer.Option(help="Leave out voxels whose true label is this value.", min=1, max=65535)
    ] = None,
    transform: TransformName = None,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Leave out labels that have no prediction, instead of scoring 0.")
    ] = False,
    per_case: Annotated[bool, typer.Option("--per-case", help="Print a row for each case and class.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Dice, IoU, HD95, ASSD, surface Dice and volumes, with 95 % confidence intervals over cases.

    A label without a prediction counts as predicted empty. A prediction stored in another orientation than its label is
    turned, without loss. Pairs that cannot be scored are named and end the command with exit code 3; the others are
    scored. Files are written to PREDICTIONS unless -o says otherwise.

    Example: unetr evaluate predictions/ labelsTr/
    """
    from unetr.core.files.lock import locked_files
    from unetr.core.files.outputs import claim
    from unetr.evaluation.pairs import evaluate_pairs, match_cases
    from unetr.evaluation.results import write_results

    pairs, extra = match_cases(predictions, labels)
    folder = out or (predictions if predictions.is_dir() else predictions.parent)
    files = [folder / "results.json", folder / "results.csv"]
    labelled = [path for pair in pairs for path in (pair.prediction, pair.truth) if path is not None]
    claim(files, {"a label file": labelled, "the plan": [plan] if plan else []}, overwrite=overwrite)
    if only_predicted:
        pairs = [pair for pair in pairs if pair.prediction is not None]
    known = _declared(plan, ignore_label)
    planned = known.pop("transform")
    with taking(transform_named(transform) or planned), progress() as bar:
        task = bar.add_task("evaluating", total=len(pairs), note="")
        results = evaluate_pairs(
            pairs,
            **known,
            tolerance_mm=tolerance_mm,
            extra=extra,
            keep_going=True,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    _show(results, per_case, as_json)
    if plan is None and ignore_label is None:
        _ask_about_ignored(results)
    # Last, so that scores which cannot be written are seen all the same.
    with locked_files(files[:1], say, 0o700):
        write_results(folder, results)
    say(f"wrote {files[0]} and {files[1]}")
    if results.failed:
        raise BatchError(
            f"{len(results.failed)} of {counted(len(pairs), 'case')} could not be scored: {', '.join(results.failed)}"
        )


def _show(results: Results, per_case: bool, as_json: bool) -> None:
    """Scores on standard output; what was turned, is missing or could not be scored on standard error."""
    from unetr.evaluation.results import results_to_json

    if as_json:
        print_json(json.loads(results_to_json(results)))
    else:
        if per_case:
            rows = [
                (s.case, s.label, number(s.dice, 4), number(s.hd95_mm, 2), number(s.nsd, 4), number(s.prediction_ml, 3))
                for s in results.scores
            ]
            print_table("cases", ("case", "class", "Dice", "HD95 mm", "NSD", "ml"), rows)
        print_scores(results)
    for note in results.notes:
        say(note)
    for case in results.missing:
        say(f"missing prediction, counted as empty: {case}")
    for case, reason in results.failed.items():
        say(f"not scored: {case}: {reason}")


def _ask_about_ignored(results: Results) -> None:
    """A label that no prediction has and that is the largest value of a byte may be what nobody labelled."""
    for summary in results.classes:
        scores = [score for score in results.scores if score.label == summary.label]
        if summary.values == (255,) and not any(score.tp + score.fp for score in scores):
            say("label 255 is in no prediction and counts as a class; if nobody labelled it: --ignore-label 255")


def _declared(path: Path | None, ignore_label: int | None) -> dict[str, Any]:
    """Label names, regions, ignore label and transform from a plan; without one the files' own names are used."""
    from unetr.core.plan.file import read_plan

    if path is None:
        return {"ignore_value": ignore_label, "transform": None}
    plan = read_plan(path)
    if ignore_label is not None and ignore_label != plan.ignore_label:
        raise InputError(f"--ignore-label {ignore_label}: {path} has ignore_label {plan.ignore_label}; leave out one")
    return {
        "names": plan.foreground,
        "regions": plan.region_values,
        "ignore_value": plan.ignore_label,
        "transform": plan.transform,
    }
