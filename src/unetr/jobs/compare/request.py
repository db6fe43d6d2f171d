"""What a comparison is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unetr.core.space.frames import Transform
from unetr.errors import InputError
from unetr.prepare.planning.names import AUTO
from unetr.prepare.planning.presets import network_named


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """What is the same for all networks.

    out: the folder for the plan, the runs and what is made of them. networks: names of presets, the paper's ablations
    and peers. preset: whose plan for these minutes all follow. folds: how many are run, from the first on, of so many.
    transform: which affine of a NIfTI counts where its two disagree. overwrite: whether files that a person made or
    edited may be replaced. Making one raises InputError for what cannot be compared.
    """

    dataset: Path
    out: Path
    networks: tuple[str, ...]
    minutes: float = 60.0
    folds: int = 1
    of: int = 5
    seed: int = 0
    preset: str = AUTO
    transform: Transform | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.networks:
            raise InputError("no networks to compare; expected some, such as paper and nnunet-plain")
        for name in self.networks:
            network_named(name)
        if not 1 <= self.folds <= self.of:
            raise InputError(f"{self.folds} folds of {self.of} cannot be run; expected from 1 to {self.of}")

    @property
    def files(self) -> tuple[Path, Path]:
        """What is written last: the document for machines, and the picture."""
        return self.out / "comparison.json", self.out / "comparison.png"

    def plan_of(self, network: str) -> Path:
        """The plan that its trainings follow."""
        return self.out / network / "plan.yaml"

    def run_of(self, network: str, fold: int) -> Path:
        """The folder of one training."""
        return self.out / network / f"fold{fold}"

    def log_of(self, network: str, fold: int) -> Path:
        """What the process of one training says."""
        return self.out / network / f"fold{fold}.log"

    def record_of(self, network: str, fold: int) -> Path:
        """What is kept of one training that is done, and so says that it is."""
        return self.out / network / f"fold{fold}.json"
