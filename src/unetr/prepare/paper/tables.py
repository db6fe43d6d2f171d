"""A data set as distributed, written down as tables that every command takes: what is learned from, what is held out.

OUT/dataset.csv (with a column `fold` where one part validates: 0, and one trains: 1) and, where cases are held out,
OUT/test.csv; beside each its .labels.json and .about.json. The scans stay where they are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unetr.core.files.atomic import write_text
from unetr.core.text.reading import read_text
from unetr.errors import InputError
from unetr.prepare.datasets.dataset import Case, Dataset
from unetr.prepare.datasets.folds import split_held_out
from unetr.prepare.paper.recipes import VALIDATION_SHARE, Recipe
from unetr.printable import csv_cell

# Which cases are held out does not depend on the seeds of the trainings.
_SPLIT_SEED = 0


@dataclass(frozen=True, slots=True)
class Tables:
    """learned: the cases to train and validate with. test: the others, None where all are learned from."""

    learned: Path
    test: Path | None


def learned_cases(recipe: Recipe, dataset: Dataset, splits: int) -> tuple[Dataset, tuple[Case, ...]]:
    """The data set without its test cases, and these; with no cross-validation, `fold` says who validates (0).

    Raises InputError for too few cases.
    """
    validation_share = 0.0 if splits else VALIDATION_SHARE
    validation, test = split_held_out(dataset, validation_share, recipe.test_share, _SPLIT_SEED)
    learned = [case for case in dataset.labelled if case.id not in set(test)]
    if not splits:
        learned = [replace(case, fold=0 if case.id in set(validation) else 1) for case in learned]
    held = tuple(case for case in dataset.labelled if case.id in set(test))
    return replace(dataset, cases=tuple(learned)), held


def write_tables(recipe: Recipe, learned: Dataset, test: Sequence[Case], out: Path) -> Tables:
    """Writes the tables, or checks that those there are the same. Raises InputError, MachineError."""
    tables = Tables(out / "dataset.csv", out / "test.csv" if test else None)
    about = {"licence": learned.licence, "reference": learned.reference}
    for path, cases in ((tables.learned, learned.cases), (tables.test, test)):
        if path is not None:
            _write_once(path.with_suffix(".labels.json"), json.dumps(recipe.values, indent=1))
            _write_once(path.with_suffix(".about.json"), json.dumps(about, indent=1))
            _write_once(path, _table(recipe, cases))
    return tables


def _table(recipe: Recipe, cases: Collection[Case]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [_row(recipe, case) for case in cases]
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return text.getvalue()


def _row(recipe: Recipe, case: Case) -> Mapping[str, str | int]:
    """image_FLAIR+T1w names the channels of one file; a file per channel has a column of its own."""
    names = recipe.channels if len(case.images) > 1 else ("+".join(recipe.channels),)
    row: dict[str, str | int] = {
        f"image_{name}": str(path.resolve()) for name, path in zip(names, case.images, strict=True)
    }
    row |= {"label": str(case.label.resolve()) if case.label else ""}
    row |= {"id": csv_cell(case.id), "subject": csv_cell(case.subject)}
    return row if case.fold is None else row | {"fold": case.fold}


def _write_once(path: Path, text: str) -> None:
    if path.exists() and read_text(path, "what a recipe wrote") != text:
        raise InputError(
            f"{path}: is of another data set or another number of splits; choose another output folder", hint="splits"
        )
    if not path.exists():
        write_text(path, text)
