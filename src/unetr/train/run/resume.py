"""Whether a run is resumed or begun, and from where it goes on.

Only the same training, of the same data, by the same plan, is resumed; it goes back to its newest sound checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from unetr.core.files.atomic import is_own, write_text
from unetr.core.files.digest import size_and_sha256
from unetr.core.files.outputs import Advice, claim
from unetr.core.plan.file import read_plan, write_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.text.records import Record
from unetr.errors import InputError
from unetr.prepare.datasets.cases import Dataset
from unetr.prepare.datasets.digests import case_digests, cases_difference, data_difference
from unetr.train.optimise.state import TrainingState
from unetr.train.run.checkpoint import remove_old, restore_checkpoint
from unetr.train.run.folder import Run
from unetr.train.run.logs import go_back
from unetr.train.run.settings import FIXED_LATER, Settings, dataset_folder, holds_run, read_settings, write_settings
from unetr.train.team import Team

# What is compared by other means than being equal.
_COMPARED_APART = ("dataset", "data", "plan_digest")
_LONGEST_VALUE = 60


def open_run(
    run: Run, plan: Plan, settings: Settings, fingerprint: Fingerprint | None, overwrite: bool = False
) -> Settings:
    """Starts a run's folder, or checks that the one there is the same training. Returns the settings to go on with.

    Raises InputError with the first difference when the folder holds another training, of other data, or its plan was
    edited.
    """
    if not holds_run(run):
        _start_folder(run, plan, overwrite)
        if fingerprint is not None:
            write_text(run.fingerprint, fingerprint.model_dump_json(indent=1), private=False)
        # The settings come last: a folder without them holds no run yet.
        settings = settings.model_copy(update={"plan_digest": size_and_sha256(run.plan)[1]})
        write_settings(run, settings)
        return settings
    kept = read_settings(run)
    _refuse_other_data(run, kept, settings)
    if kept.plan_digest and kept.plan_digest != size_and_sha256(run.plan)[1]:
        raise InputError(
            f"{run.plan}: was edited since the run began; put it back, or train by it in another folder", hint="plan"
        )
    asked = settings.model_copy(update={name: getattr(kept, name) for name in (*FIXED_LATER, *_COMPARED_APART)})
    difference = _difference(kept, asked) or _difference(read_plan(run.plan), plan)
    if difference:
        raise InputError(f"{run.folder}: holds a run with other settings: {difference}; choose another output folder")
    if kept.data is not None and kept.dataset != settings.dataset:
        kept = kept.model_copy(update={"dataset": settings.dataset})
        write_settings(run, kept)
    return kept


def resume(run: Run, state: TrainingState, team: Team) -> bool:
    """Goes back to the run's newest checkpoint, all processes to the same one, and its folder with them, if any.

    Returns whether there was one. Raises InputError where all are damaged.
    """
    found = restore_checkpoint(run.checkpoints, state) if team.leads else None
    found = team.as_leader(found)
    if found is not None and not team.leads:
        restore_checkpoint(run.checkpoints, state, only=found)
    if team.leads:
        go_back(run, state.step)
        remove_old(run.checkpoints)
    return found is not None


def _start_folder(run: Run, plan: Plan, overwrite: bool) -> None:
    """Writes the plan into a folder that holds nothing else but what a kill at the start, or `unetr plan`, leaves."""
    mine = {run.plan.name, run.fingerprint.name}
    there = [path for path in run.folder.iterdir() if not is_own(path)] if run.folder.is_dir() else []
    if any(path.name not in mine for path in there):
        raise InputError(f"{run.folder}: is not empty and holds no run; choose another output folder")
    if run.plan.exists() and not overwrite and not _difference(read_plan(run.plan), plan):
        claim([run.fingerprint])  # the plan stays as it is, with a person's remarks
        return
    advice = Advice("train by it, choose another output, or lose it by overwriting", hint="plan")
    claim([run.plan], overwrite=overwrite, advice=advice)
    claim([run.fingerprint], overwrite=overwrite)
    write_plan(run.plan, plan)


def _refuse_other_data(run: Run, kept: Settings, asked: Settings) -> None:
    """Raises InputError where the run in the folder is of other data."""
    if kept.data is None:
        there, here = dataset_folder(run, kept), dataset_folder(run, asked)
        if there.resolve() != here.resolve():
            raise InputError(
                f"{run.folder}: holds a run with other settings: dataset: there {there}, asked for {here}; "
                "choose another output folder"
            )
    elif asked.data is not None:
        _refuse(run, data_difference(kept.data, asked.data))


def refuse_other_cases(runs: Iterable[Run], dataset: Dataset) -> None:
    """Reads all cases; raises InputError where one of the runs was begun with others. Runs without digests pass."""
    now = case_digests(dataset.learned_from)
    for run in runs:
        before = read_settings(run).data if holds_run(run) else None
        _refuse(run, "" if before is None else cases_difference(before.cases, now))


def _refuse(run: Run, difference: str) -> None:
    if difference:
        raise InputError(
            f"{run.folder}: holds a run of other data: {difference}; its model and scores are of the data as it "
            "was; put the data back, or train in another output folder"
        )


def _difference(there: Record, asked: Record) -> str:
    """The first field in which two records differ, as `key: there 1, asked for 2`; empty when they are equal."""
    first, second = json.loads(there.model_dump_json()), json.loads(asked.model_dump_json())
    for key, value in _flat(first).items():
        other = _flat(second).get(key)
        if value != other and not key.startswith("reasons"):
            return f"{key}: there {_shown(value)}, asked for {_shown(other)}"
    return ""


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _flat(data: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {k: v for key, value in data.items() for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()}
