"""The view for notebooks holds the very voxels, colours and names, and leaves nothing behind."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

import unetr
from unetr.core.colours import CLASS_COLOURS
from unetr.core.space.volume import Volume
from unetr.draw.notebook import view
from unetr.jobs.demo import __file__ as demo

pytest.importorskip("ipyniivue")
SCAN = Path(demo).parent / "scan" / "scan.nii.gz"


def opened(data: bytes) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_stream(io.BytesIO(data))


def test_a_prediction_is_shown_on_its_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = unetr.load("hippocampus").predict(SCAN)
    widget = found.show(height=300)
    scan, labels = (opened(volume.data) for volume in widget.volumes)
    truth = nibabel.load(SCAN)
    assert np.array_equal(np.asarray(scan.dataobj), np.asarray(truth.dataobj))
    assert np.array_equal(np.asarray(labels.dataobj), found.labels.data[0])
    assert np.allclose(scan.affine, truth.affine) and np.allclose(labels.affine, truth.affine)
    assert (widget.height, widget.opts.is_radiological_convention) == (300, True)
    table = widget.volumes[1].colormap_label
    assert table.labels == ["", "Anterior", "Posterior"] and (table.min, table.max) == (0, 2)
    hexes = ["#" + bytes(table.lut[4 * value : 4 * value + 3]).hex().upper() for value in (1, 2)]
    assert hexes == list(CLASS_COLOURS[:2]) and table.lut[3::4] == [0, 255, 255]
    assert list(tmp_path.iterdir()) == []


def test_values_with_gaps_keep_their_colours_and_hostile_names_are_harmless() -> None:
    data = np.zeros((1, 4, 5, 6), np.uint16)
    data[0, 1], data[0, 2] = 300, 7
    labels = Volume(data, np.diag([-2.0, 3.0, 1.0, 1.0]), label_names={300: "far", 7: "\x1b[31mred"})
    scan = Volume(np.arange(240, dtype=np.float32).reshape(2, 4, 5, 6), labels.affine)
    widget = view(scan, labels, 200)
    assert np.array_equal(np.asarray(opened(widget.volumes[0].data).dataobj), scan.data[0])
    assert np.array_equal(np.asarray(opened(widget.volumes[1].data).dataobj), data[0])
    table = widget.volumes[1].colormap_label
    assert len(table.lut) == 4 * 301 and table.labels[300] == "far" and "\x1b" not in table.labels[7]
    assert table.lut[4 * 7 : 4 * 7 + 4] == [0xE6, 0x9F, 0x00, 255] and table.lut[4 * 300 : 4 * 300 + 3] == [
        86,
        180,
        233,
    ]
    assert not any(table.lut[4 * value + 3] for value in range(300) if value != 7)


def test_without_the_widget_the_package_is_named() -> None:
    code = (
        "import sys, unetr; sys.modules['ipyniivue'] = None\n"
        f"found = unetr.load('hippocampus').predict({str(SCAN)!r})\n"
        "try:\n    found.show()\nexcept unetr.errors.MachineError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "this needs ipyniivue, which is not installed; run: pip install 'unetr[notebook]'\n"
