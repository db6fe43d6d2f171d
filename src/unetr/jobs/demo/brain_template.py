"""The demonstration's data: the ICBM152 brain template that the nilearn package carries, cut into two parts.

The front part trains, the back part is never trained on. The template is left-right symmetric, so that a left/right cut
would leave a copy of the test in the training; front and back have nothing in common.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetr.core.files.atomic import write_text
from unetr.core.space.volume import Volume
from unetr.errors import MachineError

NAMES = {"background": 0, "grey matter": 1, "white matter": 2}
CITATION = (
    "Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54 (2011) 313-327; "
    "ICBM 2009 nonlinear symmetric template, as distributed with nilearn"
)
LICENCE = "ICBM 152: copyright McConnell Brain Imaging Centre, McGill University; free use and redistribution"
# Slices left out between the parts, more than the radius within which the network mixes neighbours by convolution.
GAP_VOXELS = 16


@dataclass(frozen=True, slots=True)
class DemoData:
    """Where the parts were written: a dataset of one case to train on, and a scan with its truth to test on."""

    dataset: Path
    test_scan: Path
    test_label: Path


def write_brain_parts(folder: Path) -> DemoData:
    """Cuts the template and writes its parts. Raises MachineError when nilearn is not installed."""
    from unetr.io import write_volume

    image, label = read_template()
    middle = image.shape[1] // 2
    front, back = slice(middle + GAP_VOXELS // 2, None), slice(0, middle - GAP_VOXELS // 2)
    data = DemoData(folder / "dataset", folder / "test" / "back.nii.gz", folder / "test" / "back_truth.nii.gz")
    write_volume(data.dataset / "images" / "front.nii.gz", cut_along_y(image, front))
    write_volume(data.dataset / "labels" / "front.nii.gz", cut_along_y(label, front))
    write_text(data.dataset / "labels.json", json.dumps(NAMES, indent=1))
    write_volume(data.test_scan, cut_along_y(image, back))
    write_volume(data.test_label, cut_along_y(label, back))
    return data


def read_template() -> tuple[Volume, Volume]:
    """The T1 template and its tissue labels: where grey or white matter is likelier than the other and than neither."""
    from unetr.io import read_volume

    folder = _nilearn_data()
    t1, grey, white = (
        read_volume(folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz") for kind in ("t1", "gm", "wm")
    )
    # The maps are probabilities in 0..255; what both leave over is the background's.
    maps = [volume.data[0].astype(np.int16) for volume in (grey, white)]
    tissue = np.argmax([255 - maps[0] - maps[1], *maps], axis=0).astype(np.uint8)
    names = {value: name for name, value in NAMES.items() if value}
    return t1, t1.with_data(tissue[None], label_names=names)


def cut_along_y(volume: Volume, part: slice) -> Volume:
    """A slab of the volume; the affine follows."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (part.start or 0)
    return volume.with_data(volume.data[:, :, part], affine=affine)


def _nilearn_data() -> Path:
    # Found without importing nilearn, which takes seconds and is not needed.
    found = importlib.util.find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        raise MachineError("the demonstration needs nilearn, which is not installed; run: pip install 'unetr[demo]'")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"
