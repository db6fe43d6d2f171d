"""A dataset measured and planned for, to be read and edited by a person before a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unetr.core.files.atomic import write_text
from unetr.core.files.outputs import claim
from unetr.core.machine.allowance import memory_limit
from unetr.core.observer import Observer, staged
from unetr.core.plan.file import write_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.space.frames import Transform, taking
from unetr.prepare.datasets.cases import Dataset, open_noted
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.names import AUTO
from unetr.prepare.planning.planner import make_plan
from unetr.prepare.prepared import prepared_problems, refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """out: the folder for plan.yaml and fingerprint.json, None to write nothing. minutes: plan for a training of this
    length on this machine. transform: which affine of a NIfTI counts where its two disagree. overwrite: whether files
    that a person made or edited may be replaced. memory_limit_bytes: of the whole process; a file whose reading would
    take more is refused.
    """

    dataset: Path
    out: Path | None = None
    preset: str = AUTO
    minutes: float | None = None
    transform: Transform | None = None
    overwrite: bool = False
    memory_limit_bytes: int | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What is written: the plan, then the fingerprint."""
        return () if self.out is None else (self.out / "plan.yaml", self.out / "fingerprint.json")


@dataclass(frozen=True, slots=True)
class Planned:
    """A dataset, what was measured of it, and the plan that was made."""

    dataset: Dataset
    plan: Plan
    fingerprint: Fingerprint


def plan_dataset(request: PlanRequest, observer: Observer) -> Planned:
    """Measures the dataset, makes the plan and writes both where that is asked for. Raises InputError, MachineError."""
    with taking(request.transform), memory_limit(request.memory_limit_bytes):
        dataset = open_noted(request.dataset, observer)
        claim(request.files, {"of the dataset": dataset.files}, overwrite=request.overwrite)
        fingerprint = measure_fingerprint(dataset, staged(observer, "measuring"))
        plan = _plan(dataset, fingerprint, request)
    for path in request.files[:1]:
        write_plan(path, plan)
    for path in request.files[1:]:
        write_text(path, fingerprint.model_dump_json(indent=1), private=False)
    return Planned(dataset, plan, fingerprint)


def try_plan(planned: Planned, observer: Observer) -> list[str]:
    """What to be warned of when the cases are prepared by the plan. Raises InputError where training would be wrong."""
    with taking(planned.plan.transform):
        told = staged(observer, "trying it")
        return list(refuse(prepared_problems(planned.dataset, planned.plan, told), planned.dataset))


def _plan(dataset: Dataset, fingerprint: Fingerprint, request: PlanRequest) -> Plan:
    if request.minutes is None:
        return make_plan(dataset, fingerprint, preset=request.preset)
    # Steps are timed, which needs torch.
    from unetr.jobs.training.prepare_run import plan_for
    from unetr.jobs.training.request import TrainingOptions

    return plan_for(dataset, fingerprint, TrainingOptions(preset=request.preset, minutes=request.minutes))
