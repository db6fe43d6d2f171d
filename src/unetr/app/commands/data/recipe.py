"""unetr recipe: the tasks of the UNETR paper, from the data set as distributed to the paper's table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import Json, Overwrite, finite
from unetr.app.printing import print_json, print_table, say, write_line
from unetr.app.training_view import scores_kept
from unetr.core.text.numbers import counted, number
from unetr.errors import InputError


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
    """The UNETR paper's tasks: its settings as a plan, its splits, its table. See docs/paper.md.

    Writes OUT/dataset.csv (and OUT/test.csv where cases are held out) and OUT/plan.yaml, and prints the commands that
    follow; with --run it does what they do. An edited OUT/plan.yaml is kept.

    Example: unetr recipe btcv RawData -o btcv --run
    """
    from unetr.app.recipe_run import Ask, commands, paper_rows, prepare_recipe, run_recipe
    from unetr.core.files.lock import locked
    from unetr.prepare.paper.recipes import STEPS, recipe_named

    if name is None or listed:
        _print_list(as_json)
        return
    chosen = recipe_named(name)
    if data is None or out is None:
        raise InputError(f"recipe {name}: needs the data set and -o OUT; see unetr recipe --help")
    if steps is not None and minutes is not None:
        raise InputError("--minutes and --steps: are both given; expected one of them")
    wanted = chosen.splits if splits is None else splits
    if not wanted and not chosen.test_share:
        raise InputError(f"--splits 0: recipe {name} holds no case out; expected at least 1 cross-validation")
    ask = Ask(chosen, data, out, wanted, network, steps or STEPS, minutes, overwrite)
    with locked(out, say), scores_kept(as_json):
        tables = prepare_recipe(ask)
        say(f"the tables and the plan are in {out}")
        results = run_recipe(ask, tables) if run else None
    if results is None:
        if as_json:
            print_json({"plan": str(out / "plan.yaml"), "commands": commands(ask, tables)})
        else:
            for line in commands(ask, tables):
                write_line(line)
        return
    rows = paper_rows(chosen, results)
    if as_json:
        print_json({"recipe": name, "cases": results.cases, "rows": [asdict(row) for row in rows]})
        return
    cells = [
        (r.name, number(r.dice, 4), number(r.hd95_mm, 2), number(r.paper_dice, 3), number(r.paper_hd95_mm, 2))
        for r in rows
    ]
    header = ("", "Dice", "HD95 mm", "paper's Dice", "paper's HD95 mm")
    print_table(f"{chosen.title}: {counted(len(results.cases), 'case')}", header, cells)
    say(f"wrote {out / 'scored' / 'results.json'}")


def _print_list(as_json: bool) -> None:
    from unetr.prepare.paper.recipes import RECIPES

    if as_json:
        print_json({name: {"title": r.title, "source": r.source} for name, r in RECIPES.items()})
        return
    print_table("recipes", ("name", "task", "data"), [(name, r.title, r.source) for name, r in RECIPES.items()])
