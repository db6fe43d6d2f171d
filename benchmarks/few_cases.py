"""What a start is worth where few cases are labelled: fresh weights, a pretraining on unlabelled scans, a given model.

    uv run python benchmarks/few_cases.py ../shared/data/Task04_Hippocampus --cases 20 --minutes 20 --from MODEL

Of fold 0's training cases (5 folds by the seed) so many, drawn by the seed, keep their labels; the images of its other
training cases go to `unetr pretrain`. All trainings are validated on fold 0's validation cases, which no pretraining
sees. Fresh and pretrained weights follow one plan; a given model brings its own network and grid, and must not have
been trained on the validation cases. All is kept in --out: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
from pathlib import Path

from unetr.evaluation.results import Results, read_results
from unetr.evaluation.summary import paired_difference
from unetr.prepare.datasets.cases import Case, Dataset, open_dataset
from unetr.prepare.datasets.folds import split_folds

FOLDS = 5
VALIDATED, TRAINED = 0, 1  # in the fold column


def main() -> None:
    arguments = parsed()
    dataset, out = open_dataset(arguments.dataset), arguments.out
    if dataset.regions or dataset.ignore_label is not None:
        sys.exit(f"{arguments.dataset}: has regions or an ignore label, which a table of cases cannot say")
    few, others = write_tables(dataset, arguments.cases, arguments.seed, out)
    seed = ["--seed", arguments.seed]
    budget, pretraining_budget = budgets(arguments)
    plan = ["--plan", out / "fresh" / "plan.yaml"]
    train = ["train", few, "--fold", VALIDATED, *seed, *budget, "--preset", arguments.preset, "-o"]
    unetr(*train, out / "fresh")
    unetr("pretrain", others, *seed, *pretraining_budget, *plan, "-o", out / "pretraining")
    unetr(*train, out / "pretrained", *plan, "--from", out / "pretraining" / "model.safetensors")
    runs = {"fresh weights": out / "fresh", "pretrained on the other scans": out / "pretrained"}
    if arguments.start:
        unetr(*train, out / "from_model", "--from", arguments.start)
        runs[f"model {arguments.start}"] = out / "from_model"
    print(table(runs, {"pretrained on the other scans": out / "pretraining"}))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=20, help="of each training")
    parser.add_argument("--pretraining-minutes", type=float, help="as --minutes if not given")
    parser.add_argument("--steps", type=int, help="of each training and of the pretraining, instead of minutes")
    parser.add_argument("--from", dest="start", help="a model file or a shipped model to start from as well")
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/few_cases"))
    return parser.parse_args()


def budgets(arguments: argparse.Namespace) -> tuple[list[object], list[object]]:
    """Options for a training, and for the pretraining."""
    if arguments.steps:
        return ["--steps", arguments.steps], ["--steps", arguments.steps]
    return ["--minutes", arguments.minutes], ["--minutes", arguments.pretraining_minutes or arguments.minutes]


def write_tables(dataset: Dataset, count: int, seed: int, out: Path) -> tuple[Path, Path]:
    """CSV datasets: the cases that keep their labels, with fold 0's validation cases; and the images of all others."""
    validated = set(split_folds(dataset, FOLDS, seed)[0])
    training = [case for case in dataset.labelled if case.id not in validated]
    if not 0 < count < len(training):
        sys.exit(f"--cases {count}: fold 0 trains on {len(training)} cases; some must be left for the pretraining")
    chosen = {case.id for case in random.Random(seed).sample(training, count)}
    unlabelled = [case for case in dataset.cases if case.id not in validated | chosen]
    columns = image_columns(dataset)
    out.mkdir(parents=True, exist_ok=True)
    few, others = out / "few.csv", out / "others.csv"
    write_csv(
        few,
        [*columns, "label", "id", "subject", "fold"],
        [
            [*files(case), path(case.label), case.id, case.subject, VALIDATED if case.id in validated else TRAINED]
            for case in dataset.labelled
            if case.id in validated | chosen
        ],
    )
    write_csv(others, [*columns, "id"], [[*files(case), case.id] for case in unlabelled])
    (out / "few.labels.json").write_text(json.dumps(dataset.labels))
    print(f"{count} cases to train on, {len(validated)} to validate on, {len(unlabelled)} images to pretrain on")
    return few, others


def image_columns(dataset: Dataset) -> list[str]:
    """A column per file of a case, named after its channel."""
    return [f"image_{name}" for name in dataset.channel_names[: len(dataset.cases[0].images)]]


def files(case: Case) -> list[str]:
    return [path(image) for image in case.images]


def path(file: Path | None) -> str:
    return "" if file is None else str(file.resolve())


def write_csv(target: Path, header: list[str], rows: list[list[object]]) -> None:
    with target.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header, *rows])


def unetr(*arguments: object) -> None:
    print("unetr", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "unetr", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def table(runs: dict[str, Path], before: dict[str, Path]) -> str:
    """Markdown. runs: name -> folder; the first is what the others are compared with. before: what it started from."""
    results = {name: read_results(run / "validation" / "results.json") for name, run in runs.items()}
    first = case_dice(next(iter(results.values())))
    labels = [summary.label for summary in next(iter(results.values())).classes]
    header = ["start", "mean Dice", "95 % interval", *labels, "gain over fresh, per case (95 % interval)"]
    header += ["HD95 mm", "cases", "steps", "minutes", "minutes of pretraining"]
    lines = [header, ["---"] * len(header)]
    for name, found in results.items():
        dice, own = found.foreground["dice"], case_dice(found)
        gain = paired_difference([own[case] for case in first], list(first.values()))
        lines.append(
            [
                name,
                f"{found.mean_dice:.4f}",
                f"{dice.ci_low:.4f} to {dice.ci_high:.4f}",
                *(f"{summary.metrics['dice'].mean:.4f}" for summary in found.classes),
                "" if own == first else f"{gain.mean:+.4f} ({gain.ci_low:+.4f} to {gain.ci_high:+.4f})",
                f"{found.foreground['hd95_mm'].mean:.2f}",
                f"{len(found.cases)}",
                f"{len(seconds(runs[name]))}",
                f"{sum(seconds(runs[name])) / 60:.1f}",
                f"{sum(seconds(before[name])) / 60:.1f}" if name in before else "",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def case_dice(results: Results) -> dict[str, float]:
    """Case -> mean Dice over its classes; NaN where one is undefined."""
    by_case: dict[str, list[float]] = {case: [] for case in results.cases}
    for score in results.scores:
        by_case[score.case].append(score.dice)
    return {case: sum(values) / len(values) for case, values in by_case.items()}


def seconds(run: Path) -> list[float]:
    """Of each step of a run."""
    return [float(step["seconds"]) for step in csv.DictReader((run / "timing.csv").open())]


if __name__ == "__main__":
    main()
