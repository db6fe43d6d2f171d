"""The named networks that a plan can start from. Every number of every preset is here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field

from unetr.core.plan import NetworkPlan, TrainingPlan


@dataclass(frozen=True, slots=True)
class Preset:
    """A network and what it is trained with.

    window_voxels: the most voxels a window may have. batch_voxels: the most voxels a batch may have; at least one
    window and at most `largest_batch` go into it. why: the reason that the plan gives for the choice.
    """

    network: NetworkPlan
    why: str
    window_voxels: int = 96**3
    batch_voxels: int = 4 * 48 * 64 * 48
    largest_batch: int = 4
    training: TrainingPlan = field(default_factory=TrainingPlan)


PRESETS: dict[str, Preset] = {
    "paper": Preset(
        network=NetworkPlan(preset="paper"),
        why="the configuration of the UNETR paper (Hatamizadeh et al., WACV 2022), about 92 million parameters",
    ),
    "small": Preset(
        network=NetworkPlan(
            preset="small", patch=8, width=256, depth=8, heads=8, mlp_width=1024, taps=(2, 5, 8), feature_size=24
        ),
        why="8x8x8 patches see finer detail than 16x16x16, and a narrow transformer trains in minutes on a CPU",
    ),
    "tiny": Preset(
        network=NetworkPlan(
            preset="tiny", patch=8, width=128, depth=4, heads=4, mlp_width=512, taps=(2, 3, 4), feature_size=8
        ),
        why="small enough for demonstrations and tests",
        window_voxels=64**3,
    ),
}

AUTO = "auto"


def choose_preset(name: str) -> str:
    """The preset that `auto` stands for; other names stand for themselves."""
    return "small" if name == AUTO else name
