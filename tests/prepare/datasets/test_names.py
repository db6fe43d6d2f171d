"""Names and numbers of labels that no plan can hold end in one line, before any case is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from unetr.errors import InputError
from unetr.prepare.datasets.cases import open_dataset


def decathlon(folder: Path, **changes: Any) -> Path:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
        (folder / name / "a.nii.gz").touch()
    about = {
        "name": "balls",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "ball"},
        "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
    }
    (folder / "dataset.json").write_text("\ufeff" + json.dumps(about | changes), encoding="utf-8")
    return folder


def test_usual_names_are_read(tmp_path: Path) -> None:
    assert open_dataset(decathlon(tmp_path)).labels == {"background": 0, "ball": 1}


@pytest.mark.fault("names that no plan can hold")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "x" * 300}, "name: "),
        ({"modality": {"0": "x" * 300}}, "channels.0: "),
        ({"modality": {"0": ""}}, "channels.0: "),
        ({"modality": {str(n): f"c{n}" for n in range(300)}}, "channels: "),
        ({"modality": {"0": "\u00e9", "1": "e\u0301"}}, "the channel"),
        ({"labels": {"0": "background", "1": "x" * 300}}, "labels"),
        ({"labels": {str(n): f"l{n}" for n in range(12_000)}}, "labels: "),
        ({"labels": {"0": "background", "1": "\u00e9", "2": "e\u0301"}}, "the label"),
    ],
)
def test_names_that_no_plan_can_hold(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        open_dataset(decathlon(tmp_path, **changes))
    assert str(caught.value).startswith(str(tmp_path)) and len(str(caught.value)) < 600
