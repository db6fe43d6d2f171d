"""The settings of a run: what was asked for, apart from the plan, and what it came to. Written, read, and where."""

from __future__ import annotations

import os
from pathlib import Path

from unetr.core.files.atomic import write_text
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.text.reading import read_json
from unetr.core.text.records import Record, record_from
from unetr.prepare.datasets.digests import DataDigest
from unetr.train.run.folder import Run

# What a training adds to its settings once it has measured its pace.
FIXED_LATER = ("schedule_steps", "schedule_from", "validations", "first_steps", "first_from", "again_at")


class Settings(Record):
    """What was asked for, apart from the plan, and what it came to.

    fold: the fold that validates, None when all cases train. steps, minutes: the budget, one of them.
    schedule_steps: the number of optimiser steps, fixed once it is known. schedule_from: the steps that were made
    without knowing it, and are made so again after a kill. validations: how many are made within a budget in minutes,
    None for all. again_at: the step at which the number of steps is measured once more, None for not any more;
    first_steps, first_from: what was known before that. licence, reference: of the data.
    start_digest: SHA-256 of the model file that training starts from, empty for fresh weights.
    dataset: where the data lay when the run was last begun or resumed, seen from the run's folder; only its content
    (data) says whether it is the same. plan_digest: SHA-256 of the run's plan as it was written. data and plan_digest
    are empty in runs of versions that kept no digests.
    """

    dataset: str
    preset: str
    fold: int | None
    folds: int
    seed: int
    steps: int | None
    minutes: float | None
    training_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    schedule_steps: int | None = None
    schedule_from: int = 0
    validations: int | None = None
    first_steps: int | None = None
    first_from: int = 0
    again_at: int | None = None
    licence: str = ""
    reference: str = ""
    start_digest: str = ""
    plan_digest: str = ""
    data: DataDigest | None = None

    def steps_known_at(self, step: int) -> int | None:
        """The number of optimiser steps, None where the run that was left alone did not know it yet."""
        if step >= self.schedule_from:
            return self.schedule_steps
        return self.first_steps if step >= self.first_from else None


def holds_run(run: Run) -> bool:
    """Whether a training was started in this folder."""
    return run.settings.exists()


def write_settings(run: Run, settings: Settings) -> None:
    """Writes the settings, atomically."""
    write_text(run.settings, settings.model_dump_json(indent=1))


def read_settings(run: Run) -> Settings:
    """The settings of a run. Raises InputError when the folder holds none."""
    data = read_json(run.settings, "the settings of a run made by `unetr train`")
    return record_from(Settings, data, str(run.settings))


def read_fingerprint(run: Run) -> Fingerprint | None:
    """The dataset's fingerprint, None where the plan came from elsewhere. Raises InputError when it is damaged."""
    if not run.fingerprint.exists():
        return None
    data = read_json(run.fingerprint, "the fingerprint of a run's dataset")
    return record_from(Fingerprint, data, str(run.fingerprint))


def dataset_folder(run: Run, settings: Settings) -> Path:
    """Where the dataset of a run was when the run was last resumed."""
    return run.folder.resolve() / settings.dataset


def path_from(run: Run, path: Path) -> str:
    """A path seen from the run's folder; absolute only where there is no way from one to the other."""
    try:
        return Path(os.path.relpath(path.resolve(), run.folder.resolve())).as_posix()  # read on other systems, too
    except ValueError:  # on another drive
        return str(path.resolve())
