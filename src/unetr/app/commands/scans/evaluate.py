"""unetr evaluate: predictions against labels, per case and class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import Json, Overwrite, ReadingLimit, TransformName, bytes_of, finite, transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.app.views.progress import OnScreen, progress
from unetr.app.views.training import print_scores
from unetr.core.text.numbers import counted, number
from unetr.errors import BatchError

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
    memory_limit: ReadingLimit = None,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Leave out labels that have no prediction, instead of scoring 0.")
    ] = False,
    per_case: Annotated[bool, typer.Option("--per-case", help="Print a row for each case and class.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Score predicted labels against true ones, with 95 % intervals. Dice, IoU, HD95, ASSD, surface Dice and volumes.

    A label without a prediction counts as predicted empty. A prediction stored in another orientation than its label is
    turned, without loss. Pairs that cannot be scored are named and end the command with exit code 3; the others are
    scored. Files are written to PREDICTIONS unless -o says otherwise.

    Example: unetr evaluate predictions/ labelsTr/
    """
    from unetr.jobs.evaluate import EvaluateRequest, score_files, seems_unlabelled, write_scores

    folder, limit = out or (predictions if predictions.is_dir() else predictions.parent), bytes_of(memory_limit)
    affine = transform_named(transform)
    request = EvaluateRequest(
        predictions, labels, folder, plan, ignore_label, tolerance_mm, only_predicted, affine, overwrite, limit
    )
    with progress() as bar:
        results = score_files(request, OnScreen(bar))
    _show(results, per_case, as_json)
    if plan is None and ignore_label is None and (label := seems_unlabelled(results)) is not None:
        say(f"label {label} is in no prediction and counts as a class; if nobody labelled it: --ignore-label {label}")
    # Last, so that scores which cannot be written are seen all the same.
    json_file, csv_file = write_scores(folder, results, OnScreen())
    say(f"wrote {json_file} and {csv_file}")
    if failed := results.failed:
        of = counted(len(failed) + len(results.cases), "case")
        raise BatchError(f"{len(failed)} of {of} could not be scored: {', '.join(failed)}")


def _show(results: Results, per_case: bool, as_json: bool) -> None:
    """Scores on standard output; what was turned, is missing or could not be scored on standard error."""
    from unetr.evaluation.results import results_to_json

    if as_json:
        print_json(json.loads(results_to_json(results)))
    else:
        if per_case:
            rows = [
                (s.case, s.label, number(s.dice, 3), number(s.hd95_mm, 2), number(s.nsd, 3), number(s.prediction_ml, 3))
                for s in results.scores
            ]
            header = ("case", "class", "Dice", "HD95 mm", f"NSD at {results.tolerance_mm:g} mm", "predicted ml")
            print_table("each case and class", header, rows)
        print_scores(results)
    for note in results.notes:
        say(note)
    for case in results.missing:
        say(f"missing prediction, counted as empty: {case}")
    for case, reason in results.failed.items():
        say(f"not scored: {case}: {reason}")
