"""The named networks that a plan can start from. Every number of every preset is here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field

from unetr.core.plan.schema import AugmentPlan, NetworkPlan, TrainingPlan
from unetr.errors import InputError
from unetr.prepare.planning.names import AUTO


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


def _stem_network(preset: str, *, feature_size: int, width: int, depth: int) -> NetworkPlan:
    """8x8x8 tokens that also see a convolutional stem, whose levels are the skips of a residual decoder."""
    return NetworkPlan(
        preset=preset,
        decoder="stem",
        patch=8,
        width=width,
        depth=depth,
        heads=width // 32,
        mlp_width=4 * width,
        taps=(depth,),
        feature_size=feature_size,
        norm="instance_affine",
        layer_scale=0.1,
    )


_STEM_TRAINING = TrainingPlan(learning_rate=2e-3, optimiser="muon")
# AdamW moves a weight by at most the rate in each step. In 300 steps at 1e-3, `tiny` is still finding out that most
# voxels are background: lesions of 8 voxels beside a hotter organ have a Dice of 0.04 then, and of 1 at 3e-3 and 5e-3.
_TINY_TRAINING = TrainingPlan(learning_rate=5e-3)

# What a training is given instead of its preset's augmentation when it sees each case so often that it learns them by
# heart (docs/lab/decisions.md, augmentation).
MORE_AUGMENTATION = AugmentPlan(
    rotate_degrees=20.0,
    scale=0.25,
    spatial_probability=0.6,
    elastic_probability=0.3,
    gamma_probability=0.3,
    low_resolution_probability=0.2,
    remap_probability=0.25,
)

# Their names, for help that is there at once, are in names.py as well.
PRESETS: dict[str, Preset] = {
    "paper": Preset(
        network=NetworkPlan(preset="paper"),
        why="the configuration of the UNETR paper (Hatamizadeh et al., WACV 2022), about 92 million parameters",
    ),
    "small": Preset(
        network=_stem_network("small", feature_size=12, width=256, depth=4),
        why="a convolutional stem keeps what is finer than its 8x8x8 tokens, and it trains in minutes on a CPU",
        window_voxels=64**3,
        largest_batch=1,
        training=_STEM_TRAINING,
    ),
    "medium": Preset(
        network=_stem_network("medium", feature_size=32, width=256, depth=4),
        why="as small, with wider features, for trainings that have the time for them",
        window_voxels=64**3,
        largest_batch=1,
        training=_STEM_TRAINING,
    ),
    "large": Preset(
        network=_stem_network("large", feature_size=32, width=384, depth=12),
        why="as medium, wider and deeper, for GPUs and many cases",
        window_voxels=128**3,
        largest_batch=2,
        training=_STEM_TRAINING,
    ),
    "tiny": Preset(
        network=NetworkPlan(
            preset="tiny", patch=8, width=128, depth=4, heads=4, mlp_width=512, taps=(2, 3, 4), feature_size=8
        ),
        why="small enough for demonstrations and tests, and with a rate of 5e-3, since those are short",
        window_voxels=64**3,
        training=_TINY_TRAINING,
    ),
}

# The paper's ablations of its own network (table 4 and section 5.3): other decoders, coarser patches.
ABLATIONS: dict[str, NetworkPlan] = {
    "nup": NetworkPlan(preset="nup", decoder="nup"),
    "pup": NetworkPlan(preset="pup", decoder="pup"),
    "mla": NetworkPlan(preset="mla", decoder="mla"),
    "patch32": NetworkPlan(preset="patch32", patch=32, taps=(2, 4, 7, 9, 12)),
}
# Names of `model/network/peers.py`, which needs torch to be read. The largest patch of any is 32.
PEER_NAMES = (
    "nnunet-plain",
    "nnunet-resenc",
    "primus",
    "monai-unetr",
    "monai-swinunetr",
    "monai-unet",
    "monai-vnet",
    "monai-attention-unet",
)


def network_named(name: str) -> NetworkPlan:
    """The network of a preset, an ablation or a peer. Raises InputError for any other name."""
    if name in PRESETS:
        return PRESETS[name].network
    if name in ABLATIONS:
        return ABLATIONS[name]
    if name in PEER_NAMES:
        return NetworkPlan(preset=name, peer=name)
    known = ", ".join((*PRESETS, *ABLATIONS, *PEER_NAMES))
    raise InputError(f"network {name!r}: is unknown; expected one of {known}")


def choose_preset(name: str) -> str:
    """The preset that `auto` stands for; other names stand for themselves."""
    return "small" if name == AUTO else name
