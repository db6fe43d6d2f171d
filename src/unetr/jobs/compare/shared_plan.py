"""The plan that all networks of a comparison follow, and whether a folder is of this comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unetr.core.files.atomic import write_text
from unetr.core.files.digest import size_and_sha256
from unetr.core.observer import Observer
from unetr.core.plan.file import read_plan, write_plan
from unetr.core.plan.schema import Plan
from unetr.core.text.reading import read_json
from unetr.errors import InputError
from unetr.jobs.apart.registry import PLAN
from unetr.jobs.apart.run_apart import run_apart
from unetr.jobs.compare.request import CompareRequest
from unetr.jobs.data.plan_dataset import PlanRequest
from unetr.prepare.datasets.dataset import Dataset
from unetr.prepare.datasets.digests import DataDigest, data_difference, data_digest
from unetr.prepare.planning.presets import network_named


def shared_plan(request: CompareRequest, dataset: Dataset, observer: Observer) -> Plan:
    """OUT/plan.yaml, which the first call writes for these minutes on this machine, with OUT/contest.json.

    It is made in a process of its own, which keeps what it takes out of the memory measured of the trainings. Raises
    InputError, MachineError where it cannot be made; InputError for the folder of another comparison.
    """
    record, data = request.out / "contest.json", data_digest(dataset)
    asked = {"preset": request.preset, "minutes": request.minutes, "of": request.of, "seed": request.seed}
    made = PlanRequest(
        dataset=request.dataset,
        out=request.out,
        preset=request.preset,
        minutes=request.minutes,
        transform=request.transform,
        overwrite=request.overwrite,
    )
    plan = made.files[0]
    if record.exists():
        _refuse_other(request, record, asked, data, observer)
    else:
        observer.on_stage("measuring", 0, None)
        for warning in run_apart(PLAN, made, observer).result:
            observer.on_note(f"warning: {warning}")
        observer.on_stage("measuring", 1, 1)
        digest = size_and_sha256(plan)[1]
        write_text(record, json.dumps(asked | {"plan": digest, "data": data.model_dump(mode="json")}, indent=1))
    return read_plan(plan)


def _refuse_other(
    request: CompareRequest, record: Path, asked: dict[str, Any], data: DataDigest, observer: Observer
) -> None:
    """Raises InputError where the folder is of a comparison that was asked for otherwise, or on other data.

    One of a version that kept no digests names its dataset by path.
    """
    try:
        there = read_json(record, "what a comparison was asked for (JSON)")
        before = DataDigest.model_validate(there["data"]) if "data" in there else None
        same = all(there[name] == value for name, value in asked.items())
        same &= before is not None or there["dataset"] == str(request.dataset.resolve())
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{record}: is damaged; choose another output folder") from None
    if not same:
        raise InputError(f"{record}: is another comparison's; expected {asked}; choose another output folder")
    if "plan" in there and there["plan"] != size_and_sha256(record.with_name("plan.yaml"))[1]:
        raise InputError(
            f"{record.with_name('plan.yaml')}: was edited since the comparison began; put it back, or choose another "
            "output folder"
        )
    if before is None:
        observer.on_note(f"{record}: is of a version that kept no digests of the data; it may have changed since")
    elif difference := data_difference(before, data):
        raise InputError(
            f"{record}: is a comparison on other data: {difference}; put the data back, or choose another output folder"
        )


def write_plans(request: CompareRequest, base: Plan) -> None:
    """OUT/<network>/plan.yaml for each: the base plan with another network.

    Raises InputError where a plan is there that is another, so that no two comparisons are mixed.
    """
    for name in request.networks:
        path = request.plan_of(name)
        made = base.model_copy(update={"network": network_named(name)})
        if path.exists() and read_plan(path) != made:
            raise InputError(f"{path}: is the plan of another comparison; choose another output folder")
        if not path.exists():
            write_plan(path, made)
