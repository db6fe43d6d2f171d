"""One file whose reading raises what nobody thought of, among sound ones: it is named, and the others are finished."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unetr.core.machine.memory import resident_bytes

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Exception]], None]:
    """poison(error): reading a NIfTI file whose name begins with "bad" raises it."""
    from unetr.io import formats
    from unetr.io.formats import nifti

    def arm(error: type[Exception]) -> None:
        def read(path: Path) -> Any:
            if path.name.startswith("bad"):  # a temporary name of random digits may have it within
                raise error("a secret of the file")
            return nifti.read(path)

        for suffix in (".nii", ".nii.gz"):
            monkeypatch.setitem(formats.FORMATS, suffix, formats.Format(read, nifti.write))

    return arm


@pytest.mark.fault("exceptions at the boundary")
@pytest.mark.parametrize("error", [RecursionError, OverflowError, KeyError, MemoryError])
def test_predict_goes_on(
    error: type[Exception],
    poison: Callable[[type[Exception]], None],
    unetr: Command,
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a", "bad", "c"):
        shutil.copy(sound_scan, folder / f"{name}.nii.gz")
    poison(error)
    outcome = unetr("predict", tiny_model, folder, "-o", tmp_path / "out")
    assert outcome.code == 3 and "Traceback" not in outcome.err and "secret" not in outcome.err, outcome
    assert str(folder / "bad.nii.gz") in outcome.err
    states = {case["id"]: case["state"] for case in json.loads((tmp_path / "out/report.json").read_text())["cases"]}
    assert states == {"a": "done", "bad": "failed", "c": "done"}


@pytest.mark.fault("exceptions at the boundary")
def test_check_goes_on(
    poison: Callable[[type[Exception]], None], unetr: Command, dataset: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(dataset, tmp_path / "data"))
    image = sorted((folder / "images").iterdir())[0]
    name = "bad" + image.name.removeprefix(image.name.partition(".")[0])
    for kind in ("images", "labels"):
        (folder / kind / image.name).rename(folder / kind / name)
    poison(RecursionError)
    outcome = unetr("check", folder, "--json")
    assert outcome.code == 2 and "Traceback" not in outcome.err, outcome
    problems = json.loads(outcome.out)["problems"]
    assert {problem["code"] for problem in problems if problem["case"] == "bad"} == {
        "unreadable_image",
        "unreadable_label",
    }
    assert not [problem for problem in problems if problem["case"] != "bad" and problem["severity"] == "error"]


@pytest.mark.fault("exceptions at the boundary")
@pytest.mark.parametrize("option", [[], ["--debug"]])
def test_debug_shows_the_cause(
    option: list[str],
    poison: Callable[[type[Exception]], None],
    unetr: Command,
    save_scan: Save,
    tmp_path: Path,
) -> None:
    path = save_scan(tmp_path / "bad.nii.gz", np.ones((4, 4, 4), np.float32))
    poison(RecursionError)
    outcome = unetr(*option, "info", path)
    *shown, line = outcome.err.splitlines()
    assert outcome.code == 2 and line.startswith(f"unetr: {path}: ") and "RecursionError" in line
    assert ("RecursionError: a secret of the file" in "\n".join(shown)) == bool(option)


@pytest.mark.fault("decompression bombs")
def test_a_bomb_among_sound_scans_is_refused_and_the_others_are_finished(
    unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a", "c"):
        shutil.copy(sound_scan, folder / f"{name}.nii.gz")
    header = nibabel.Nifti1Header()
    header.set_data_shape((800, 800, 800))
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with gzip.open(folder / "b.nii.gz", "wb", 1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(800):
            file.write(bytes(800 * 800))
    limit = resident_bytes() // 10**6 + 300
    outcome = unetr("predict", tiny_model, folder, "-o", tmp_path / "out", "--memory-limit", f"{limit}MB")
    assert outcome.code == 3 and f"{folder / 'b.nii.gz'}: needs at least" in outcome.err, outcome
    assert f"the limit of {limit / 1000:.2f} GB" in outcome.err
    states = {case["id"]: case["state"] for case in json.loads((tmp_path / "out/report.json").read_text())["cases"]}
    assert states == {"a": "done", "b": "failed", "c": "done"}
