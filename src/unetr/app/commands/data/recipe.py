"""unetr recipe: the tasks of the UNETR paper, from the data set as distributed to the paper's table."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import Json, Overwrite, finite
from unetr.app.printing import print_json, print_table, say, write_line
from unetr.app.views.training import scores_kept, training_view
from unetr.core.text.numbers import counted, number
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.evaluation.results import Results
    from unetr.jobs.data.recipe import Ask
    from unetr.prepare.paper.tables import Tables


def recipe(
    name: Annotated[
        str | None, typer.Argument(help="btcv, msd-spleen or msd-brain; none lists them.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Argument(help="The data set as distributed, unpacked.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Tables, plan, runs and scores.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the recipes, and stop.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Train and score, too; run it again to resume.")] = False,
    steps: Annotated[int | None, typer.Option(help="Steps of each training. Default 20000.", min=1)] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Length of each training instead.", min=0.01, callback=finite)
    ] = None,
    splits: Annotated[
        int | None,
        typer.Option(help="Five-fold cross-validations; 0: one training. Default: btcv 4, msd 0.", min=0),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="A preset, ablation (nup, pup, mla, patch32) or peer instead of the paper's.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Repeat a task of the UNETR paper: its plan, splits and table. See docs/paper.md.

    Writes OUT/dataset.csv (and OUT/test.csv where cases are held out) and OUT/plan.yaml, and prints the commands that
    follow; with --run it does what they do. An edited OUT/plan.yaml is kept.

    Example: unetr recipe btcv RawData -o btcv --run
    """
    if name is None or listed:
        _print_list(as_json)
        return
    from unetr.jobs.data.recipe import follow_recipe

    ask = _asked(name, data, out, splits, network, steps, minutes, overwrite)
    with scores_kept(as_json), training_view() as view:
        tables, results = follow_recipe(ask, view, run=run)
    if results is not None:
        _print_rows(name, ask, results, as_json)
        return
    commands = _commands(ask, tables)
    if as_json:
        print_json({"plan": str(ask.plan), "commands": commands})
        return
    for line in commands:
        write_line(line)


def _asked(
    name: str,
    data: Path | None,
    out: Path | None,
    splits: int | None,
    network: str | None,
    steps: int | None,
    minutes: float | None,
    overwrite: bool,
) -> Ask:
    """Raises InputError for options that do not go together."""
    from unetr.jobs.data.recipe import Ask
    from unetr.prepare.paper.recipes import STEPS, recipe_named

    chosen = recipe_named(name)
    if data is None or out is None:
        raise InputError(f"recipe {name}: needs the data set and -o OUT; see unetr recipe --help")
    if steps is not None and minutes is not None:
        raise InputError("--minutes and --steps: are both given; expected one of them")
    wanted = chosen.splits if splits is None else splits
    if not wanted and not chosen.test_share:
        raise InputError(f"--splits 0: recipe {name} holds no case out; expected at least 1 cross-validation")
    return Ask(chosen, data, out, wanted, network, steps or STEPS, minutes, overwrite)


def _print_rows(name: str, ask: Ask, results: Results, as_json: bool) -> None:
    """The paper's table, measured and as published."""
    from unetr.jobs.data.recipe import paper_rows

    rows = paper_rows(ask.recipe, results)
    if as_json:
        print_json({"recipe": name, "cases": results.cases, "rows": [asdict(row) for row in rows]})
        return
    cells = [
        (r.name, number(r.dice, 4), number(r.hd95_mm, 2), number(r.paper_dice, 3), number(r.paper_hd95_mm, 2))
        for r in rows
    ]
    header = ("", "Dice", "HD95 mm", "paper's Dice", "paper's HD95 mm")
    print_table(f"{ask.recipe.title}: {counted(len(results.cases), 'case')}", header, cells)
    say(f"wrote {ask.out / 'scored' / 'results.json'}")


def _commands(ask: Ask, tables: Tables) -> list[str]:
    """The shell commands that do by hand what --run does, one a line."""
    from unetr.prepare.datasets.layouts.files import csv_cases

    length = ["--steps", ask.steps] if ask.minutes is None else ["--minutes", ask.minutes]
    train = ["unetr", "train", tables.learned, "--plan", ask.plan, *length]
    if ask.splits:
        how = ["--folds", "all", "--no-rules"]
        lines = [[*train, *how, "--seed", seed, "-o", folder] for seed, folder in enumerate(ask.run_folders)]
    else:
        lines = [[*train, "--fold", 0, "-o", ask.run_folders[0]]]
    unlabelled = [ask.data / level / "img" for level in ("Testing", "RawData/Testing")]  # BTCV's
    scans = tables.test or next((path for path in unlabelled if path.is_dir()), "SCANS")
    lines.append(["unetr", "predict", *ask.run_folders, scans, "-o", ask.out / "predicted"])
    if tables.test is not None:
        labels = next(case.label.parent for case in csv_cases(tables.test) if case.label is not None)
        lines.append(["unetr", "evaluate", ask.out / "predicted", labels, "--plan", ask.plan, "--only-predicted"])
    return [shlex.join(str(part) for part in line) for line in lines]


def _print_list(as_json: bool) -> None:
    from unetr.prepare.paper.recipes import RECIPES

    if as_json:
        print_json({name: {"title": r.title, "source": r.source} for name, r in RECIPES.items()})
        return
    print_table("recipes", ("name", "task", "data"), [(name, r.title, r.source) for name, r in RECIPES.items()])
