"""The score of an ensemble on cases that none of its members has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.evaluation.results import Results, write_results
from unetr.infer.load import load
from unetr.prepare.datasets.cases import Case
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_settings

Members = Mapping[str, tuple[Path, ...]]
"""Case id -> the model files that predict it."""


def unseen_by(runs: Iterable[Run]) -> Members:
    """For every case of several cross-validations, the model of each that was not trained on it.

    With four of five folds each, a case is predicted by four of the twenty models. Raises InputError.
    """
    members: dict[str, tuple[Path, ...]] = {}
    for run in runs:
        for case in read_settings(run).validation_cases:
            members[case] = (*members.get(case, ()), run.model)
    return members


def score_ensemble(
    cases: Sequence[Case], members: Members, folder: Path, progress: Callable[[int, int], None]
) -> Results:
    """Writes FOLDER/<case>.nii.gz, each the mean of its members, and FOLDER/results.json.

    All members have one plan; its classes, or its regions in their place, are scored. Raises InputError, MachineError.
    """
    groups: dict[tuple[Path, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(members[case.id], []).append(case)
    pairs = []
    for models, group in groups.items():
        segmenter = load(models, engine="torch")
        for case in group:
            prediction = segmenter.predict(list(case.images)).save(folder / f"{case.id}.nii.gz")
            if case.label is not None:
                pairs.append(Pair(case.id, prediction=prediction, truth=case.label))
            progress(len(pairs), len(cases))
    plan = segmenter.plan
    results = evaluate_pairs(
        sorted(pairs, key=lambda pair: pair.case),
        names=plan.foreground,
        regions=plan.region_values,
        ignore_value=plan.ignore_label,
    )
    write_results(folder, results)
    return results
