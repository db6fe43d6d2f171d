"""unetr compare: several networks, the same folds, samples, augmentation and minutes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import DatasetPath, Json, Overwrite, TransformName, finite, opened_dataset, transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.app.progress import OnScreen, progress
from unetr.core.space.frames import taking
from unetr.errors import BatchError, InputError


def compare(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="Runs and results; a comparison that exists is resumed.")],
    networks: Annotated[str, typer.Option(help="Names with commas: presets, the paper's ablations, peers.")],
    minutes: Annotated[float, typer.Option(help="Length of each training.", min=0.01, callback=finite)] = 60.0,
    folds: Annotated[int, typer.Option(help="How many of the folds are run, from the first on.", min=1)] = 1,
    of: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    seed: Annotated[int, typer.Option(help="Seed of folds, weights and samples.", min=0)] = 0,
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
    from unetr.app.printing import defined
    from unetr.core.files.atomic import atomic_path, write_text
    from unetr.core.files.lock import locked
    from unetr.core.files.outputs import claim
    from unetr.jobs.compare.contest import Contest, conditions, gather, open_contest, run_contest, write_plans
    from unetr.prepare.planning.presets import network_named
    from unetr.report.comparison import comparison_document, comparison_png, comparison_table

    names = tuple(dict.fromkeys(name.strip() for name in networks.split(",") if name.strip()))
    if not names:
        raise InputError("--networks: names none; expected some, such as paper,nnunet-plain")
    for name in names:
        network_named(name)
    if folds > of:
        raise InputError(f"--folds {folds}: are more than --of {of}")
    contest = Contest(dataset, out, preset, names, minutes, tuple(range(folds)), of, seed, overwrite)
    with taking(transform_named(transform)), ExitStack() as held:
        opened_dataset(dataset)  # refused here, not by each process that is started for it
        held.enter_context(locked(out, say))
        claim([out / "comparison.json", out / "comparison.png"], overwrite=overwrite)
        with progress() as bar:
            base = open_contest(contest, OnScreen(bar))
        write_plans(contest, base)
        failed = run_contest(contest, OnScreen())
        contestants = gather(contest, base)
        if contestants:
            document = comparison_document(contestants, conditions(contest, base))
            if as_json:
                print_json(document)
            else:
                header, rows = comparison_table(contestants)
                print_table(f"{base.dataset}, {folds} of {of} folds, {minutes:g} minutes each", header, rows)
            # Last, so that what took hours is seen even where it cannot be written.
            write_text(out / "comparison.json", json.dumps(defined(document), indent=1, allow_nan=False))
            with atomic_path(out / "comparison.png") as temporary:
                temporary.write_bytes(comparison_png(contestants))
            say(f"wrote {out / 'comparison.json'} and {out / 'comparison.png'}")
    if failed:
        raise BatchError(f"{len(failed)} of {len(names) * folds} trainings failed: {failed[0]}")
