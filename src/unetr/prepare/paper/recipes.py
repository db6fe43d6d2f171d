"""The tasks of the UNETR paper (Hatamizadeh et al., WACV 2022): data sets, settings, and the scores it reports.

Sections and tables in comments are the paper's (arXiv 2103.10504v3). "Published code" is UNETR/BTCV in
github.com/Project-MONAI/research-contributions; it covers BTCV only, at 1.5 x 1.5 x 2 mm. Facts only, no code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unetr.core.plan.schema import (
    AugmentPlan,
    ChannelPlan,
    InferencePlan,
    NetworkPlan,
    Plan,
    Region,
    TrainingPlan,
    Window,
)
from unetr.core.text.records import valid
from unetr.errors import InputError
from unetr.prepare.datasets.cases import read_case
from unetr.prepare.datasets.dataset import Dataset
from unetr.prepare.datasets.layouts.btcv import BTCV_ORGANS

STEPS = 20_000  # section 4.3
FOLDS = 5  # section 4.3
# Section 4.3: training, validation and test 80:15:5 for the tasks of the Decathlon.
VALIDATION_SHARE, TEST_SHARE = 0.15, 0.05


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the paper's table: classes or regions whose mean it is, and the paper's UNETR there.

    paper_hd95_mm: None where the paper reports none.
    """

    name: str
    targets: tuple[str, ...]
    paper_dice: float
    paper_hd95_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A task of the paper.

    channels, labels: what the data set must have, labels by value with the background first. intensities: to [0, 1]
    from these two values in HU, or from these percentiles of the labelled voxels; neither: z-score of each scan.
    splits: five-fold cross-validations with seeds of their own, 0 for one training; test_share: of the cases, held out.
    columns, mean: the paper's table, and its last column. source: where the data are to be had.
    """

    title: str
    source: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    window: Window
    splits: int
    columns: tuple[Column, ...]
    mean: Column | None
    regions: tuple[Region, ...] = ()
    hounsfield: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    test_share: float = 0.0

    @property
    def values(self) -> dict[str, int]:
        """Label name -> value, the background included."""
        return {name: value for value, name in enumerate(self.labels)}


# Table 1, Standard Competition, the row UNETR.
_BTCV_DICE = (0.968, 0.924, 0.941, 0.750, 0.766, 0.971, 0.913, 0.890, 0.847, 0.788, 0.767)

RECIPES: dict[str, Recipe] = {
    "btcv": Recipe(
        title="13 abdominal organs in CT (BTCV)",
        source="https://www.synapse.org/Synapse:syn3193805",
        channels=("CT",),
        labels=("background", *BTCV_ORGANS),
        window=(96, 96, 96),
        splits=4,
        columns=(
            *(Column(organ, (organ,), dice) for organ, dice in zip(BTCV_ORGANS[:11], _BTCV_DICE, strict=True)),
            # One column for both glands, and the mean is that of twelve columns.
            Column("adrenal glands", BTCV_ORGANS[11:], 0.741),
        ),
        mean=Column("mean of 12 columns", (), 0.856),
        hounsfield=(-1000.0, 1000.0),
    ),
    "msd-spleen": Recipe(
        title="spleen in CT (Medical Segmentation Decathlon, Task09_Spleen)",
        source="http://medicaldecathlon.com",
        channels=("CT",),
        labels=("background", "spleen"),
        window=(96, 96, 96),
        splits=0,
        columns=(Column("spleen", ("spleen",), 0.964, 1.333),),  # Table 2
        mean=None,
        percentiles=(5.0, 95.0),
        test_share=TEST_SHARE,
    ),
    "msd-brain": Recipe(
        title="brain tumours in MRI (Medical Segmentation Decathlon, Task01_BrainTumour)",
        source="http://medicaldecathlon.com",
        channels=("FLAIR", "T1w", "t1gd", "T2w"),
        labels=("background", "edema", "non-enhancing tumor", "enhancing tumor"),
        window=(128, 128, 128),
        splits=0,
        columns=(  # Table 2
            Column("WT", ("WT",), 0.789, 8.266),
            Column("ET", ("ET",), 0.585, 9.354),
            Column("TC", ("TC",), 0.761, 8.845),
        ),
        mean=Column("all", (), 0.711, 8.822),
        # Written from the largest to the smallest, the three give the data set's own values back.
        regions=(
            Region(name="WT", labels=(1, 2, 3), written_as=1),
            Region(name="TC", labels=(2, 3), written_as=2),
            Region(name="ET", labels=(3,), written_as=3),
        ),
        test_share=TEST_SHARE,
    ),
}


def recipe_named(name: str) -> Recipe:
    """Raises InputError for a name that is none."""
    if name not in RECIPES:
        raise InputError(f"recipe {name!r}: is unknown; expected one of {', '.join(RECIPES)}")
    return RECIPES[name]


def check_fits(recipe: Recipe, dataset: Dataset) -> None:
    """Raises InputError, naming the first difference, where the data set is not the recipe's.

    Spelling in British English and in capitals is no difference.
    """
    if [name.lower() for name in dataset.channel_names] != [name.lower() for name in recipe.channels]:
        raise InputError(
            f"{dataset.root}: has the channels {', '.join(dataset.channel_names)}; expected "
            f"{', '.join(recipe.channels)}, in this order, for {recipe.title}"
        )
    found = {value: name for name, value in dataset.labels.items()}
    for value in sorted(found.keys() | set(range(len(recipe.labels)))):
        expected = recipe.labels[value] if value < len(recipe.labels) else None
        if expected is None or _plain(found.get(value, "")) != _plain(expected):
            raise InputError(
                f"{dataset.root}: label {value} is {found.get(value, 'missing')!r}; expected "
                f"{'no such label' if expected is None else repr(expected)} for {recipe.title}"
            )


def _plain(name: str) -> str:
    return name.lower().replace("tumour", "tumor").replace("oedema", "edema").replace("oesophagus", "esophagus")


@valid("the dataset's plan")
def recipe_plan(recipe: Recipe, dataset: Dataset, network: NetworkPlan, progress: Callable[[int, int], None]) -> Plan:
    """The paper's settings as a plan, each with where it comes from in `plan.reasons`.

    dataset: what is learned from, without test cases; read only where intensities have to be measured.
    Raises InputError for a data set that is not the recipe's, or cannot be read.
    """
    check_fits(recipe, dataset)
    channels, intensities = _channels(recipe, dataset, progress)
    augment = AugmentPlan(
        mirror_axes=(0, 1, 2),
        quarter_turn_probability=0.2,
        rescale_probability=0.1,
        shift_probability=0.1,
        **dict.fromkeys(_NOT_IN_THE_PAPER, 0.0),
    )
    training = TrainingPlan(
        batch_size=6,
        learning_rate=1e-4,
        weight_decay=1e-5,
        warmup_steps=STEPS // 100,
        gradient_clip=_NO_CLIP,
        ema_decay=0.0,
        foreground_fraction=0.5,
        augment=augment,
    )
    return Plan(
        dataset=recipe.title,
        channels=channels,
        labels=recipe.values,
        regions=recipe.regions,
        spacing_mm=(1.0, 1.0, 1.0),
        crop="content" if recipe.regions else "none",
        window=recipe.window,
        network=network,
        training=training,
        inference=InferencePlan(overlap=0.5, blending="constant"),
        reasons={"channels": intensities} | _REASONS | (_REASONS_OF_REGIONS if recipe.regions else _REASONS_OF_CLASSES),
    )


_NOT_IN_THE_PAPER = (
    "spatial_probability",
    "elastic_probability",
    "noise_probability",
    "blur_probability",
    "brightness_probability",
    "contrast_probability",
    "gamma_probability",
    "low_resolution_probability",
)
_NO_CLIP = 1e6  # a norm that no gradient reaches
_REASONS = {
    "spacing_mm": "section 4.1: 1.0 mm isotropic",
    "orientation": "RAS as in the published code; the paper says nothing",
    "window": "section 4.1",
    "network": "section 4.3: ViT-B/16, 12 blocks, width 768, patches of 16x16x16; another one where it was asked for",
    "training.batch_size": "section 4.3",
    "training.learning_rate": "section 4.3: AdamW, 0.0001, 20,000 iterations",
    "training.weight_decay": "published code; the paper says nothing",
    "training.warmup_steps": "1 % of the steps, as 50 of 5000 epochs in the published code; the paper says nothing",
    "training.gradient_clip": "so high that nothing is clipped: neither the paper nor the published code clips",
    "training.ema_decay": "none in the paper or the published code",
    "training.foreground_fraction": "section 4.1: foreground and background windows 1:1",
    "training.augment": "section 4.3: turns by 90, 180, 270 degrees, flips along three axes, scale and shift of "
    "intensities; probabilities and ranges of turns, scale and shift from the published code",
    "inference.overlap": "section 4.3",
    "inference.blending": "published code; the paper says nothing",
}


_REASONS_OF_CLASSES = {
    "crop": "none in the paper; scans of CT have no border of zeros",
    "training.loss": "section 3.2, equation 7: all classes, squared terms",
}
_REASONS_OF_REGIONS = {
    "crop": "not in the paper; the empty border of skull-stripped scans is left out, since z-scores should not see it",
    "regions": "section 4.1 has three classes and table 2 WT, ET and TC, which overlap: an output for each",
    "training.loss": "section 3.2, equation 7, with a sigmoid per region in place of the softmax",
}


def _channels(
    recipe: Recipe, dataset: Dataset, progress: Callable[[int, int], None]
) -> tuple[tuple[ChannelPlan, ...], str]:
    if recipe.hounsfield is not None:
        (low, high), reason = recipe.hounsfield, "section 4.1: [-1000, 1000] HU to [0, 1]"
    elif recipe.percentiles is not None:
        low, high = foreground_percentiles(dataset, recipe.percentiles, progress)
        first, last = recipe.percentiles
        reason = f"section 4.1: percentiles {first:g} and {last:g} of the labelled voxels to [0, 1], measured here"
    else:
        return tuple(ChannelPlan(name=name, normalisation="zscore") for name in recipe.channels), "section 4.1: z-score"
    return (ChannelPlan(name=recipe.channels[0], normalisation="range", low=low, high=high),), reason


def foreground_percentiles(
    dataset: Dataset, percentiles: tuple[float, float], progress: Callable[[int, int], None]
) -> tuple[float, float]:
    """Percentiles of the first channel over the labelled voxels of all cases. InputError where they are equal."""
    found = []
    for done, case in enumerate(dataset.labelled, start=1):
        image, label = read_case(case, dataset)
        if label is not None:
            found.append(image.data[0][label.data[0] > 0].astype(np.float32))
        progress(done, len(dataset.labelled))
    values = np.concatenate(found) if found else np.zeros(0, np.float32)
    low, high = (float(value) for value in np.percentile(values, percentiles)) if values.size else (0.0, 0.0)
    if low >= high:
        raise InputError(
            f"{dataset.root}: the labelled voxels have one intensity or none; expected a CT and its labels"
        )
    return low, high
