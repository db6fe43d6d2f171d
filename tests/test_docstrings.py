"""The examples in the docstrings of unetr's public names run and print what they say.

Each runs in a folder of its own that holds small scans and the labels that the shipped model makes of them:

    scan.nii.gz                        a scan
    scans/case_a.nii.gz, case_b.nii.gz a folder of scans
    dataset/images/, dataset/labels/   the same scans with labels, a dataset for training
    label.nii.gz                       a label of scan.nii.gz
"""

from __future__ import annotations

import doctest
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import unetr

# Numbers may be printed with other digits than they have in the example.
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def examples() -> Iterator[doctest.DocTest]:
    """Of everything in `unetr.__all__`, the public methods of its classes included."""
    parser = doctest.DocTestParser()
    for name in unetr.__all__:
        thing = getattr(unetr, name)
        members = [(name, thing)]
        if inspect.isclass(thing):
            members += [(f"{name}.{key}", value) for key, value in vars(thing).items() if not key.startswith("_")]
        for title, member in members:
            text = inspect.getdoc(member) if callable(member) or isinstance(member, property) else None
            found = parser.get_doctest(text or "", {"unetr": unetr}, title, None, None)
            if found.examples:
                yield found


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, datasets: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for seed, name in enumerate(("case_a", "case_b")):
        sample = datasets.KINDS["balls"].make(seed, 1)
        datasets.save_scan(folder / f"dataset/images/{name}.nii.gz", sample.channels[0], sample.affine)
        label = sample.label.astype(np.uint8)
        datasets.save_scan(folder / f"dataset/labels/{name}.nii.gz", label, sample.affine)
    shutil.copytree(folder / "dataset/images", folder / "scans")
    shutil.copy(folder / "scans/case_a.nii.gz", folder / "scan.nii.gz")
    shutil.copy(folder / "dataset/labels/case_a.nii.gz", folder / "label.nii.gz")
    return folder


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
def test_an_example_does_what_it_says(
    example: doctest.DocTest, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(material, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=said.append)
    assert outcome.attempted and not outcome.failed, "".join(said)


def test_the_names_people_use_have_an_example() -> None:
    having = {example.name for example in examples()}
    assert {"fit", "pretrain", "PrintProgress"} <= having
    assert {"load", "predict", "read_volume", "write_volume", "Segmenter.predict", "Prediction.save"} <= having
