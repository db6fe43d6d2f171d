"""unetr compare: several networks, the same folds, samples, augmentation and minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import DatasetPath, Json, Overwrite, Seed, TransformName, finite, transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.app.views.progress import OnScreen, progress
from unetr.errors import BatchError, InputError

if TYPE_CHECKING:
    from unetr.jobs.compare.compare_networks import Comparison
    from unetr.jobs.compare.request import CompareRequest


def compare(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="Runs and results; a comparison that exists is resumed.")],
    networks: Annotated[str, typer.Option(help="Names with commas: presets, the paper's ablations, peers.")],
    minutes: Annotated[float, typer.Option(help="Length of each training.", min=0.01, callback=finite)] = 60.0,
    folds: Annotated[int, typer.Option(help="How many of the folds are run, from the first on.", min=1)] = 1,
    of: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    seed: Seed = 0,
    preset: Annotated[
        str, typer.Option(help="Whose plan for these minutes all follow: window, spacing, batch, augmentation.")
    ] = "auto",
    overwrite: Overwrite = False,
    transform: TransformName = None,
    as_json: Json = False,
) -> None:
    """Train several networks alike and rank them. With intervals, minutes, steps, memory, FLOPs and latency.

    Writes OUT/comparison.json and OUT/comparison.png. Each network's runs are in OUT/<network>.

    Example: unetr compare Task04_Hippocampus -o compared --networks paper,nnunet-plain --minutes 20
    """
    from unetr.jobs.compare.compare_networks import UnwrittenComparisonError, compare_networks
    from unetr.jobs.compare.request import CompareRequest

    request = CompareRequest(
        dataset=dataset,
        out=out,
        networks=_names(networks),
        minutes=minutes,
        folds=_folds(folds, of),
        of=of,
        seed=seed,
        preset=preset,
        transform=transform_named(transform),
        overwrite=overwrite,
    )
    with progress() as bar:
        try:
            found = compare_networks(request, OnScreen(bar))
        except UnwrittenComparisonError as error:
            _show(error.comparison, request, as_json)
            raise
    if found.contestants:
        _show(found, request, as_json)
        say(f"wrote {' and '.join(map(str, request.files))}")
    if found.failed:
        of_all = len(request.networks) * folds
        raise BatchError(f"{len(found.failed)} of {of_all} trainings failed: {found.failed[0]}")


def _show(found: Comparison, request: CompareRequest, as_json: bool) -> None:
    from unetr.report.comparison import comparison_table

    if as_json:
        print_json(found.document)
        return
    header, rows = comparison_table(found.contestants)
    title = f"{found.dataset}, {request.folds} of {request.of} folds, {request.minutes:g} minutes each"
    print_table(title, header, rows)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError("--networks: names none; expected some, such as paper,nnunet-plain")
    return names


def _folds(folds: int, of: int) -> int:
    if folds > of:
        raise InputError(f"--folds {folds}: are more than --of {of}")
    return folds
