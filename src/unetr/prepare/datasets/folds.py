"""Cross-validation folds. Knows ids and subjects only; opens no file."""

from __future__ import annotations

import hashlib

from unetr.errors import InputError
from unetr.prepare.datasets.dataset import Case, Dataset


def split_folds(dataset: Dataset, folds: int = 5, seed: int = 0) -> list[tuple[str, ...]]:
    """The ids of the validation cases of each fold; every labelled case is in exactly one.

    A function of (seed, subjects and ids) alone: the order of files and the machine do not matter. Subjects are never
    split; sizes differ by no more than the cases of one subject. A `fold` column decides by itself and then sets the
    number of folds; with fewer subjects than `folds` there is one fold per subject.
    Raises InputError when two folds cannot be made or the column is not complete.
    """
    cases = dataset.labelled
    if any(case.fold is not None for case in cases):
        return _chosen_folds(cases, dataset)
    if folds < 2:
        raise InputError(f"{folds} folds were asked for; expected at least 2")
    members: dict[str, list[str]] = {}
    for case in cases:
        members.setdefault(case.subject, []).append(case.id)
    if len(members) < 2:
        raise InputError(
            f"{dataset.root}: has {len(members)} labelled subjects; expected 2 or more for folds, or training on all",
            hint="fold",
        )
    order = sorted(members, key=lambda subject: (-len(members[subject]), _shuffle_key(seed, subject)))
    result: list[list[str]] = [[] for _ in range(min(folds, len(members)))]
    for subject in order:
        min(result, key=len).extend(members[subject])
    return [tuple(sorted(fold)) for fold in result]


def split_held_out(
    dataset: Dataset, validation: float, test: float, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the validation cases and of the test cases; all others train.

    validation, test: shares of the labelled subjects, rounded, at least one subject each, none where the share is 0.
    A function of (seed, subjects and ids) alone, as `split_folds`. Raises InputError where no subject is left to train.
    """
    members: dict[str, list[str]] = {}
    for case in dataset.labelled:
        members.setdefault(case.subject, []).append(case.id)
    order = sorted(members, key=lambda subject: _shuffle_key(seed, subject))
    sizes = [max(1, round(share * len(order))) if share else 0 for share in (test, validation)]
    if sum(sizes) >= len(order):
        raise InputError(f"{dataset.root}: has {len(order)} labelled subjects; expected at least {sum(sizes) + 1}")
    parts = order[: sizes[0]], order[sizes[0] : sum(sizes)]
    held, validating = (tuple(sorted(case for subject in part for case in members[subject])) for part in parts)
    return validating, held


def _shuffle_key(seed: int, subject: str) -> bytes:
    """A hash orders the subjects, since it gives the same order in every version of every library."""
    return hashlib.sha256(f"{seed}\0{subject}".encode("utf-8", "surrogateescape")).digest()


def _chosen_folds(cases: tuple[Case, ...], dataset: Dataset) -> list[tuple[str, ...]]:
    """The folds of the `fold` column."""
    of_subject: dict[str, int] = {}
    for case in cases:
        if case.fold is None:
            raise InputError(
                f"{dataset.root}: case {case.id!r} has no fold but others do; fill the column or remove it"
            )
        if of_subject.setdefault(case.subject, case.fold) != case.fold:
            raise InputError(
                f"{dataset.root}: subject {case.subject!r} is in the folds {of_subject[case.subject]} and {case.fold}; "
                "a subject must stay in one fold"
            )
    used = sorted(set(of_subject.values()))
    if used != list(range(len(used))) or len(used) < 2:
        raise InputError(f"{dataset.root}: the fold column has {used[:8]}; expected at least 2 folds numbered from 0")
    return [tuple(sorted(case.id for case in cases if case.fold == fold)) for fold in used]
