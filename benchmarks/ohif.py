"""OHIF in Chromium: how many voxels of a segmentation it draws at another place than they were predicted.

    python tools/fetch_clients.py
    uv run python benchmarks/ohif.py [--pictures FOLDER]

MONAI Label's OHIF, unchanged, served by the server itself, over a real Orthanc. For each direction of the slices: Info
and Run in MONAI Label's panel; then the SEG and the RTSTRUCT of the same segmentation, stored in Orthanc and opened as
a person does. What the viewer holds is read from its own services, and compared with `Segmenter.predict`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pydicom
from matplotlib.path import Path as Outline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.orthanc import Orthanc, running_orthanc
from tests.serve.monai_label.peers import ohif
from tests.serve.monai_label.series import DIRECTIONS, write_series
from tests.serve.monai_label.serving import serving
from tests.serve.monai_label.viewer import Ohif, chromium

import unetr
from unetr.queue.service import Service

SOURCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom" / "hippocampus_crop_T1"
Row = tuple[str, str, int, int, float]


def slices_of(series: Path, labels: unetr.Volume) -> dict[str, np.ndarray]:
    """Instance -> its predicted labels [row, column], by the positions in the headers."""
    found = {}
    to_index = np.linalg.inv(labels.affine)
    for path in series.iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        place = np.array([*header.ImagePositionPatient, 1], float) * [-1, -1, 1, 1]
        index = round(float((to_index @ place)[2]))
        found[str(header.SOPInstanceUID)] = labels.data[0, :, :, index].T
    return found


def wrong_in_seg(viewer: Ohif, expected: dict[str, np.ndarray]) -> int:
    """Voxels of the labelmap that differ, over all slices; a slice that is missing counts whole."""
    held = viewer.labelmap()
    wrong = 0
    for uid, plane in expected.items():
        values = next((values for address, values in held.items() if uid in address), None)
        wrong += plane.size if values is None else int((np.array(values).reshape(plane.shape) != plane).sum())
    return wrong


def wrong_in_rtstruct(viewer: Ohif, series: Path, expected: dict[str, np.ndarray]) -> int:
    """Voxels whose centre is on the other side of the contours than predicted, over all slices."""
    drawn = {uid: np.zeros((2, *plane.shape), bool) for uid, plane in expected.items()}
    headers = {}
    for path in series.iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        headers[str(header.SOPInstanceUID)] = header
    for segment, address, points in viewer.contours():
        uid = next(uid for uid in headers if uid in address)
        header = headers[uid]
        axes = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        down, right = (float(number) for number in header.PixelSpacing)
        flat = (points - np.array(header.ImagePositionPatient, float)) @ axes.T / [right, down]
        rows, columns = expected[uid].shape
        grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
        drawn[uid][segment - 1] ^= Outline(flat).contains_points(grid).reshape(rows, columns)
    return sum(
        int((drawn[uid][value - 1] != (plane == value)).sum()) for uid, plane in expected.items() for value in (1, 2)
    )


def rows(address: str, orthanc: Orthanc, folder: Path, pictures: Path) -> Iterator[Row]:
    """Direction, what is drawn, voxels, wrong ones, seconds."""
    segmenter = unetr.load("hippocampus")
    for direction in DIRECTIONS:
        series = write_series(SOURCE, folder / direction, direction)
        orthanc.store(sorted(series.iterdir()))
        study = str(pydicom.dcmread(next(series.iterdir()), stop_before_pixels=True).StudyInstanceUID)
        prediction = segmenter.predict(series)
        labels, expected = prediction.labels, slices_of(series, prediction.labels)
        count = int(np.count_nonzero(labels.data))
        middle = max(expected, key=lambda uid: np.count_nonzero(expected[uid]))
        began = time.perf_counter()
        with chromium(address) as viewer:
            held, affine = viewer.run(study)
            viewer.picture(pictures / f"{direction}-run.png")
        same = held.shape == labels.shape and np.allclose(affine, labels.affine, atol=1e-3)
        wrong = int((held != labels.data[0]).sum()) if same else count
        yield direction, "MONAI Label's Run", count, wrong, time.perf_counter() - began
        for modality, ending in (("SEG", "seg"), ("RTSTRUCT", "rtstruct")):
            stored = orthanc.store([prediction.save(folder / f"{direction}.{ending}.dcm")])
            began = time.perf_counter()
            with chromium(address) as viewer:
                names = viewer.open(study, modality)
                assert names == {1: "Anterior", 2: "Posterior"}, names
                viewer.go_to(middle)
                viewer.picture(pictures / f"{direction}-{ending}.png")
                wrong = (
                    wrong_in_seg(viewer, expected) if modality == "SEG" else wrong_in_rtstruct(viewer, series, expected)
                )
            yield direction, f"{modality} in Orthanc", count, wrong, time.perf_counter() - began
            for each in stored:
                orthanc.fetch(f"/instances/{each}", method="DELETE")


def main() -> int:
    """Prints the table; the exit code says whether anything is at a wrong place."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--pictures", type=Path, help="where screenshots are put")
    given = arguments.parse_args()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        pictures = given.pictures or folder / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        orthanc = opened.enter_context(running_orthanc(folder / "orthanc"))
        service = opened.enter_context(Service(folder / "queue", ["hippocampus"]))
        address = opened.enter_context(serving(service, ohif=ohif(), pacs=orthanc.dicom_web))
        print("| slices | drawn from | voxels | wrong | seconds |\n|---|---|---|---|---|")
        wrong_ones = 0
        for direction, what, voxels, wrong, seconds in rows(address, orthanc, folder, pictures):
            wrong_ones += wrong
            print(f"| {direction} | {what} | {voxels} | {wrong} | {seconds:.0f} |", flush=True)
    return int(wrong_ones > 0)


if __name__ == "__main__":
    sys.exit(main())
