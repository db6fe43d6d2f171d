"""The layout of BTCV as distributed: RawData/Training/img/img0001.nii.gz with RawData/Training/label/label0001.nii.gz.

Beyond the Cranial Vault, abdomen (Landman et al., MICCAI Multi-Atlas Labeling workshop, 2015; synapse.org syn3193805):
CT, 13 organs with the values 1 to 13. The scans for testing (RawData/Testing/img) have no labels and are not cases.
"""

from __future__ import annotations

from pathlib import Path

from unetr.errors import InputError
from unetr.io import case_name
from unetr.prepare.datasets.dataset import BACKGROUND, Case, Dataset, sorted_cases
from unetr.prepare.datasets.layouts.files import scans_in

# In the order of their values, 1 to 13.
BTCV_ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic veins",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)
_LEVELS = ("", "Training", "RawData/Training")


def recognises_btcv(path: Path) -> bool:
    """Whether the folder, its Training or its RawData/Training has the folders `img` and `label`."""
    return _training(path) is not None


def read_btcv(path: Path) -> Dataset:
    """Reads the labelled scans; a case has the name of its scan, as predictions do. Raises InputError."""
    root = _training(path)
    if root is None:
        raise InputError(f"{path}: is not BTCV; expected RawData/Training/img and RawData/Training/label")
    images, labels = _numbered(root / "img", "img"), _numbered(root / "label", "label")
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        raise InputError(
            f"{root}: {len(alone)} of the scans have an image or a label but not both, first {alone[0]}; expected "
            f"img/img{alone[0]}.nii.gz and label/label{alone[0]}.nii.gz"
        )
    cases = [
        Case(id=f"img{number}", images=(image,), label=labels[number], subject=number)
        for number, image in images.items()
    ]
    return Dataset(
        name="BTCV",
        root=path,
        layout="btcv",
        cases=sorted_cases(cases, root),
        channel_names=("CT",),
        held_out=_tests(root.parent / "Testing" / "img"),
        labels={BACKGROUND: 0} | {organ: value for value, organ in enumerate(BTCV_ORGANS, start=1)},
        reference="Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, 2015",
    )


def _tests(folder: Path) -> tuple[Case, ...]:
    scans = scans_in(folder) if folder.is_dir() else []
    return tuple(Case(case_name(scan), (scan,), None, case_name(scan)) for scan in scans)


def _training(path: Path) -> Path | None:
    folders = [path / level for level in _LEVELS]
    return next((f for f in folders if (f / "img").is_dir() and (f / "label").is_dir()), None)


def _numbered(folder: Path, prefix: str) -> dict[str, Path]:
    """Number of the scan, as in its name -> file. Raises InputError for other scans and for two of one number."""
    found: dict[str, Path] = {}
    for path in scans_in(folder):
        name = case_name(path)
        number = name.removeprefix(prefix)
        if not name.startswith(prefix) or not number.isdecimal():
            raise InputError(f"{path}: is not a scan of BTCV; expected names such as {prefix}0001.nii.gz")
        if number in found:
            raise InputError(f"{path}: and {found[number].name} are both scan {number}; keep one of them")
        found[number] = path
    return found
