"""Folders of scans: the report, --continue, kills, a full disk, signals; DICOM as input."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]
FilesIn = Callable[[Path], list[str]]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


def states(out: Path) -> dict[str, str]:
    return {case["id"]: case["state"] for case in report_of(out)["cases"]}


def labels(out: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in out.iterdir() if path.name not in ("report.json", ".unetr_outputs")}


@pytest.fixture
def scans(tmp_path: Path, datasets: ModuleType) -> Path:
    """Four good scans."""
    for seed in range(4):
        sample = datasets.KINDS["balls"].make(seed, 1)
        datasets.save_scan(tmp_path / f"scans/case {seed}.nii.gz", sample.channels[0], sample.affine)
    return tmp_path / "scans"


@pytest.fixture
def bad_scans(scans: Path, malformed: ModuleType, save_scan: Save) -> dict[str, str]:
    """Bad scans beside the good ones: case id -> a word of the reason."""
    good = (scans / "case 0.nii.gz").read_bytes()
    (scans / "truncated.nii.gz").write_bytes(good[:-9])
    (scans / "empty.nii.gz").write_bytes(b"")
    save_scan(scans / "flat.nii.gz", np.full((20, 20, 20), 7, np.int16))
    save_scan(scans / "two channels.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20, 2)).astype(np.float32))
    nan = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    nan[3, 3, 3] = np.nan
    save_scan(scans / "nan.nii.gz", nan)
    shutil.copy(scans / "case 0.nii.gz", scans / "twice.nii.gz")
    (scans / "twice.nii").write_bytes(malformed.nifti(malformed.voxels(np.random.default_rng(0))))
    return {
        "truncated": "truncated",
        "empty": "empty",
        "flat": "constant",
        "two channels": "2 channels",
        "nan": "NaN",
        "twice": "more than once",
    }


# ---------------------------------------------------------------------------------------------------------------------
# The report


def test_the_report_names_every_case(
    unetr: Command, tiny_model: Path, scans: Path, bad_scans: dict[str, str], tmp_path: Path, files_in: FilesIn
) -> None:
    from unetr import __version__

    out = tmp_path / "out"
    outcome = unetr("predict", tiny_model, scans, "-o", out, "--preview", "--stats", tmp_path / "stats.csv", "--json")
    assert outcome.code == 3
    report = report_of(out)
    assert report["unetr"] == __version__
    assert report["models"] == [
        {"file": tiny_model.name, "bytes": tiny_model.stat().st_size, "sha256": sha256(tiny_model)}
    ]
    assert report["counts"] == {"done": 4, "skipped": 0, "failed": len(bad_scans), "pending": 0}
    cases = {case["id"]: case for case in report["cases"]}
    good = [f"case {seed}" for seed in range(4)]
    assert list(cases) == sorted([*good, *bad_scans])
    said = json.loads(outcome.out)
    for name, word in bad_scans.items():
        assert cases[name]["state"] == "failed" and word in cases[name]["error"], cases[name]
        assert str(scans / name) in cases[name]["error"]
        assert said["failed"][name] == cases[name]["error"]
        assert outcome.err.count(f"unetr: {cases[name]['error']}\n") == 1
        assert cases[name]["outputs"] == []
    volumes = {(row["case"], row["label"]): row["volume_ml"] for row in csv.DictReader((tmp_path / "stats.csv").open())}
    assert len(volumes) == 8
    for name in good:
        case, scan = cases[name], scans / f"{name}.nii.gz"
        assert case["state"] == "done" and case["error"] is None
        assert case["inputs"] == [{"file": scan.name, "bytes": scan.stat().st_size, "sha256": sha256(scan)}]
        written = {output["file"]: output["sha256"] for output in case["outputs"]}
        assert written == {f"{name}{end}": sha256(out / f"{name}{end}") for end in (".nii.gz", ".png")}
        assert set(case["seconds"]) == {"read", "compute", "write"} and min(case["seconds"].values()) > 0
        assert 10 < case["peak_memory_mb"] < 1e5
        for label, volume in case["volumes_ml"].items():
            assert f"{volume:.6g}" == volumes[name, label]
            assert said["volumes_ml"][name][label] == volume
    assert files_in(out) == sorted([*(f"{n}{e}" for n in good for e in (".nii.gz", ".png")), "report.json"])
    assert said["report"] == str(out / "report.json")


def test_the_same_scan_gives_the_same_bytes_without_a_time(
    unetr: Command, tiny_model: Path, scans: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        assert unetr("predict", tiny_model, scans, "-o", tmp_path / name, "--probabilities", "--preview").code == 0
    assert labels(tmp_path / "first") == labels(tmp_path / "second")
    assert len(labels(tmp_path / "first")) == 12
    for path in (tmp_path / "first").glob("*.gz"):
        assert path.read_bytes()[:8] == b"\x1f\x8b\x08\x00\0\0\0\0"  # gzip, deflate, no name, time 0


def test_a_single_scan_has_no_report_unless_asked_for(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    command = ["predict", tiny_model, sound_scan, "-o", tmp_path / "label.nii.gz"]
    assert unetr(*command).code == 0
    assert files_in(tmp_path) == ["label.nii.gz"]
    assert_refused(unetr(*command, "--continue"), 2, sound_scan, "--report")
    report = tmp_path / "about.json"
    assert unetr(*command, "--report", report).code == 0
    assert [case["state"] for case in json.loads(report.read_text())["cases"]] == ["done"]
    assert unetr(*command, "--report", report, "--continue").code == 0
    assert [case["state"] for case in json.loads(report.read_text())["cases"]] == ["skipped"]
    assert files_in(tmp_path) == ["about.json", "label.nii.gz"]


def test_a_single_bad_scan_with_a_report(
    unetr: Command, assert_refused: Refused, tiny_model: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    (tmp_path / "bad.nii.gz").write_bytes(b"")
    command = ["predict", tiny_model, tmp_path / "bad.nii.gz", "-o", tmp_path / "label.nii.gz"]
    assert_refused(unetr(*command, "--report", tmp_path / "r.json"), 2, "bad.nii.gz", "is empty")
    (case,) = json.loads((tmp_path / "r.json").read_text())["cases"]
    assert case["state"] == "failed" and "is empty" in case["error"]
    assert files_in(tmp_path) == ["bad.nii.gz", "r.json"]


def test_all_scans_bad(unetr: Command, tiny_model: Path, tmp_path: Path, files_in: FilesIn) -> None:
    for name in ("a.nii", "a.nii.gz", "b.mha"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    outcome = unetr("predict", tiny_model, tmp_path / "in", "-o", tmp_path / "out")
    assert outcome.code == 3 and outcome.err.endswith("2 of 2 scans failed: a, b\n")
    assert files_in(tmp_path / "out") == ["report.json"] and outcome.out == ""


def test_a_name_that_is_no_unicode_is_in_the_report(
    unetr: Command, tiny_model: Path, scans: Path, tmp_path: Path
) -> None:
    try:
        shutil.copy(scans / "case 0.nii.gz", scans / os.fsdecode(b"old\xe9.nii.gz"))
    except OSError:
        pytest.skip("this file system has Unicode names only")
    outcome = unetr("predict", tiny_model, scans, "-o", tmp_path / "out", "--stats", tmp_path / "stats.csv", "--json")
    assert outcome.code == 3
    assert [name for name, state in states(tmp_path / "out").items() if state == "failed"] == ["old\\udce9"]
    assert set(json.loads(outcome.out)["failed"]) == {"old\\udce9"}


# ---------------------------------------------------------------------------------------------------------------------
# --continue


def test_continue_computes_only_what_is_not_proven(
    unetr: Command, tiny_model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = ["predict", tiny_model, scans, "-o", out, "--continue"]
    assert unetr(*command, "--stats", tmp_path / "first.csv").code == 0
    first, made = labels(out), {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    # Changed output, lost output, changed input, a result that is in no report, a leftover.
    (out / "case 0.nii.gz").write_bytes((out / "case 1.nii.gz").read_bytes())
    (out / "case 1.nii.gz").unlink()
    shutil.copy(scans / "case 3.nii.gz", scans / "case 2.nii.gz")
    shutil.copy(scans / "case 0.nii.gz", scans / "new.nii.gz")
    shutil.copy(out / "case 3.nii.gz", out / "new.nii.gz")
    (out / ".unetr-0123456789ab.nii.gz").write_bytes(b"half")
    # What a person may have changed or put there is theirs.
    outcome = unetr(*command, "--stats", tmp_path / "second.csv", "--json")
    assert outcome.code == 2 and "was changed since unetr wrote it (and 1 more)" in outcome.err
    outcome = unetr(*command, "--stats", tmp_path / "second.csv", "--json", "--overwrite")
    assert outcome.code == 0
    assert states(out) == {"case 0": "done", "case 1": "done", "case 2": "done", "case 3": "skipped", "new": "done"}
    assert json.loads(outcome.out)["skipped"] == ["case 3"]
    second = labels(out)
    assert second == {**first, "case 2.nii.gz": second["case 2.nii.gz"], "new.nii.gz": first["case 0.nii.gz"]}
    assert second["case 2.nii.gz"] != first["case 2.nii.gz"]
    assert (out / "case 3.nii.gz").stat().st_mtime_ns == made["case 3.nii.gz"]
    # Skipped ones are in the statistics too.
    rows = (tmp_path / "second.csv").read_text().splitlines()
    assert len(rows) == 11 and rows[7:9] == (tmp_path / "first.csv").read_text().splitlines()[7:9]
    # And the next time nothing is computed at all.
    monkeypatch.setattr("unetr.infer.predict.Segmenter.predict", lambda *_, **__: pytest.fail("computed"))
    assert unetr(*command).code == 0
    assert set(states(out).values()) == {"skipped"} and labels(out) == second


def test_continue_takes_nothing_from_another_model_or_settings(
    unetr: Command, tiny_model: Path, tiny_plan: Any, scans: Path, tmp_path: Path
) -> None:
    from unetr.model.file.model_file import ModelFile, read_model, write_model

    out, other = tmp_path / "out", tmp_path / "other.safetensors"
    opened = read_model(tiny_model)
    weights = {name: np.asarray(value) * 1.5 for name, value in opened.weights.items()}
    write_model(other, ModelFile(tiny_plan, None, {}, "CC0", weights))
    assert unetr("predict", tiny_model, scans, "-o", out).code == 0
    first = labels(out)
    for model, options in ((tiny_model, ["--precision", "fp32"]), (other, []), (tiny_model, [])):
        outcome = unetr("predict", model, scans, "-o", out, "--continue", *options)
        assert outcome.code == 0 and "every case is computed again" in outcome.err
        assert set(states(out).values()) == {"done"}
    assert labels(out) == first
    # A copy of the model under another name is the same model.
    copied = shutil.copy(tiny_model, tmp_path / "copy.safetensors")
    assert unetr("predict", copied, scans, "-o", out, "--continue").code == 0
    assert set(states(out).values()) == {"skipped"}
    # Further outputs that were not made are made.
    assert unetr("predict", tiny_model, scans, "-o", out, "--continue", "--preview").code == 0
    assert set(states(out).values()) == {"done"}
    assert unetr("predict", tiny_model, scans, "-o", out, "--continue").code == 0
    assert set(states(out).values()) == {"skipped"}


def test_results_of_two_models_are_never_mixed_in_one_folder(
    unetr: Command, assert_refused: Refused, tiny_model: Path, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert unetr("predict", tiny_model, scans, "-o", out).code == 0
    before = labels(out), (out / "report.json").read_bytes()
    (scans / "case 2.nii.gz").unlink()
    for options in ([], ["--continue"]):
        outcome = unetr("predict", tiny_model, scans, "-o", out, "--precision", "fp32", *options)
        assert_refused(outcome, 2, out / "case 2.nii.gz", "another model, settings or version", "another folder")
        assert (labels(out), (out / "report.json").read_bytes()) == before
    (out / "case 2.nii.gz").unlink()
    assert unetr("predict", tiny_model, scans, "-o", out, "--precision", "fp32").code == 0


def test_another_file_of_the_reports_name_is_left_alone(
    unetr: Command, assert_refused: Refused, tiny_model: Path, scans: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text('{"mine": 1}')
    for options in ([], ["--continue"]):
        outcome = unetr("predict", tiny_model, scans, "-o", out, *options)
        assert_refused(outcome, 2, out / "report.json", "not a report of unetr predict")
    assert files_in(out) == ["report.json"] and (out / "report.json").read_text() == '{"mine": 1}'


# ---------------------------------------------------------------------------------------------------------------------
# Ends before the end


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_whole_files_and_a_true_report(
    number: signal.Signals,
    code: int,
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files_in: FilesIn,
) -> None:
    from unetr.infer.predict import Segmenter

    out, count = tmp_path / "out", iter(range(9))
    segment = Segmenter.segment

    def signalled(*arguments: Any, **options: Any) -> Any:
        if next(count) == 2:
            signal.raise_signal(number)
        return segment(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "segment", signalled)
        assert_refused(unetr("predict", tiny_model, scans, "-o", out), code, "stopped by")
    assert states(out) == {"case 0": "done", "case 1": "done", "case 2": "pending", "case 3": "pending"}
    assert files_in(out) == ["case 0.nii.gz", "case 1.nii.gz", "report.json"]
    assert unetr("predict", tiny_model, scans, "-o", out, "--continue").code == 0
    assert states(out) == {"case 0": "skipped", "case 1": "skipped", "case 2": "done", "case 3": "done"}


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    scans: Path,
    save_scan: Save,
    tiny_disk: Path,
    files_in: FilesIn,
) -> None:
    large = np.random.default_rng(0).normal(size=(48, 48, 48)).astype(np.float32)
    save_scan(scans / "case 1 large.nii", large)  # its label file is larger than the disk
    (scans / "case 2.nii.gz").unlink()
    out = tiny_disk / "out"
    outcome = unetr("predict", tiny_model, scans, "-o", out)
    assert_refused(outcome, 4, out / "case 1 large.nii", "the disk is full")
    assert states(out) == {"case 0": "done", "case 1": "done", "case 1 large": "failed", "case 3": "pending"}
    assert files_in(out) == ["case 0.nii.gz", "case 1.nii.gz", "report.json"]
    recorded = {o["file"]: o["sha256"] for case in report_of(out)["cases"] for o in case["outputs"]}
    assert recorded == labels(out)


def test_kills_then_continue_give_the_bytes_of_a_clean_run(
    unetr: Command,
    tiny_model: Path,
    scans: Path,
    bad_scans: dict[str, str],
    datasets: ModuleType,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """benchmarks/folder_kill.py does this with 200 scans and 20 kills."""
    for seed in range(4, 14):
        sample = datasets.KINDS["balls"].make(seed, 1)
        datasets.save_scan(scans / f"case {seed}.nii.gz", sample.channels[0], sample.affine)
    clean, out = tmp_path / "clean", tmp_path / "out"
    good = tmp_path / "good"
    good.mkdir()
    for path in scans.glob("case *.nii.gz"):
        shutil.copy(path, good)
    assert unetr("predict", tiny_model, good, "-o", clean, "--precision", "fp32").code == 0
    rng = np.random.default_rng(0)
    options = ["-o", out, "--precision", "fp32", "--continue"]
    command = [sys.executable, "-m", "unetr", "predict", *map(str, (tiny_model, scans, *options))]
    for _ in range(4):
        goal = len(list(out.glob("[!.]*.nii.gz"))) + int(rng.integers(1, 4))
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob("[!.]*.nii.gz"))) < goal:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for case in report_of(out)["cases"]:  # never says done of what is not whole
            assert all(sha256(out / output["file"]) == output["sha256"] for output in case["outputs"])
        (out / f".unetr-{os.urandom(6).hex()}.nii.gz").write_bytes(b"half")
    assert unetr("predict", tiny_model, scans, *options).code == 3
    assert labels(out) == labels(clean) and len(labels(out)) == 14
    found = states(out)
    assert {name for name, state in found.items() if state == "failed"} == set(bad_scans)
    assert "skipped" in found.values()


# ---------------------------------------------------------------------------------------------------------------------
# DICOM


def write_dicom(maker: ModuleType, folder: Path, seed: int = 0, **tags: Any) -> Path:
    """A series of 24x20x18 voxels with the name of a patient."""
    voxels = np.random.default_rng(seed).integers(0, 1000, (24, 20, 18), dtype=np.int16)
    maker.write_series(folder, voxels, PatientName="Doe^Jane", PatientID="SECRET-7", **tags)
    return folder


def test_a_folder_of_dicom_is_one_case(
    unetr: Command, maker: ModuleType, tiny_model: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    import nibabel
    import SimpleITK

    folder = write_dicom(maker, tmp_path / "study 1")
    outcome = unetr("predict", tiny_model, folder, "-o", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome
    assert files_in(tmp_path / "out") == ["study 1.nii.gz"]
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    scan, label = reader.Execute(), SimpleITK.ReadImage(str(tmp_path / "out/study 1.nii.gz"))
    for position in ((0, 0, 0), (23, 19, 17), (5, 0, 11)):
        theirs, ours = (image.TransformIndexToPhysicalPoint(position) for image in (scan, label))
        assert np.allclose(theirs, ours, atol=1e-4)
    # The zip and the file name of our choice give the same labels.
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    assert unetr("predict", tiny_model, tmp_path / "packed.zip", "-o", tmp_path / "own.nii.gz").code == 0
    first, second = (nibabel.load(tmp_path / name).get_fdata() for name in ("out/study 1.nii.gz", "own.nii.gz"))
    assert np.array_equal(first, second) and len(np.unique(first)) > 1
    from unetr import read_volume

    assert np.array_equal(read_volume(folder).data, read_volume(tmp_path / "packed.zip").data)


def test_a_folder_of_dicom_folders(
    unetr: Command, maker: ModuleType, tiny_model: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    for seed, name in enumerate(("a", "b", "gap")):
        write_dicom(maker, scans / name, seed)
    middle = sorted((scans / "gap").iterdir())[7]
    middle.unlink()
    (scans / "none").mkdir()
    (scans / "none/readme.txt").write_text("nothing")
    command = ["predict", tiny_model, scans, "-o", out, "--continue"]
    outcome = unetr(*command)
    assert outcome.code == 3
    assert states(out) == {"a": "done", "b": "done", "gap": "failed", "none": "failed"}
    assert files_in(out) == ["a.nii.gz", "b.nii.gz", "report.json"]
    everything = (out / "report.json").read_text() + outcome.out + outcome.err
    assert "Doe" not in everything and "SECRET" not in everything
    assert unetr(*command).code == 3
    assert states(out) == {"a": "skipped", "b": "skipped", "gap": "failed", "none": "failed"}
    shutil.rmtree(scans / "a")
    write_dicom(maker, scans / "a", 9)
    assert unetr(*command).code == 3
    assert states(out) == {"a": "done", "b": "skipped", "gap": "failed", "none": "failed"}


def test_outputs_never_lie_among_the_dicom_files(
    unetr: Command, assert_refused: Refused, maker: ModuleType, tiny_model: Path, tmp_path: Path
) -> None:
    scans = write_dicom(maker, tmp_path / "scans/a").parent
    for source, out in ((scans, scans / "out"), (scans / "a", scans / "a"), (scans / "a", scans / "a/x.nii.gz")):
        assert_refused(unetr("predict", tiny_model, source, "-o", out), 2, "among the DICOM files")


def test_series_are_channels(
    unetr: Command, assert_refused: Refused, maker: ModuleType, tiny_model: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    frame = {"StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
    for seed, uid in enumerate(("1.2.3.1", "1.2.3.2")):
        write_dicom(maker, study / f"s{seed}", seed, SeriesInstanceUID=uid, **frame)
    out = tmp_path / "out.nii.gz"
    assert unetr("predict", tiny_model, study, "-o", out, "--series", "1.2.3.2").code == 0
    assert unetr("predict", tiny_model, study / "s1", "-o", tmp_path / "same.nii.gz").code == 0
    assert out.read_bytes() == (tmp_path / "same.nii.gz").read_bytes()
    both = ["--series", "1.2.3.1", "--series", "1.2.3.2"]
    assert_refused(unetr("predict", tiny_model, study, "-o", out, *both), 2, study, "has 2 channels", "expects 1")
    assert_refused(unetr("predict", tiny_model, study, "-o", out, "--series", "9.9"), 2, study, "9.9")


@pytest.mark.parametrize("result_format", ["dicom-seg", "rtstruct"])
def test_dicom_results(
    result_format: str,
    unetr: Command,
    assert_refused: Refused,
    maker: ModuleType,
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
    files_in: FilesIn,
) -> None:
    import pydicom

    option = ["--format", result_format]
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "out", *option)
    assert_refused(outcome, 2, sound_scan, f"--format {result_format}", "expected DICOM")
    folder = write_dicom(maker, tmp_path / "study")
    outcome = unetr("predict", tiny_model, folder, "-o", tmp_path / "out.nii.gz", *option)
    assert_refused(outcome, 2, "out.nii.gz", "expected a name ending in .dcm")
    pytest.importorskip(
        {"dicom-seg": "unetr.io.dicom.results.seg", "rtstruct": "unetr.io.dicom.results.rtstruct"}[result_format]
    )
    kind = {"dicom-seg": "seg", "rtstruct": "rtstruct"}[result_format]
    assert unetr("predict", tiny_model, folder, "-o", tmp_path / "out", *option).code == 0
    assert unetr("predict", tiny_model, folder, "-o", tmp_path / "one.dcm", *option).code == 0
    assert files_in(tmp_path / "out") == [f"study.{kind}.dcm"]
    for path in (tmp_path / f"out/study.{kind}.dcm", tmp_path / "one.dcm"):
        assert pydicom.dcmread(path).Modality == {"seg": "SEG", "rtstruct": "RTSTRUCT"}[kind]


def test_an_unknown_format(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path, "--format", "jpeg")
    assert_refused(outcome, 2, "format jpeg", "nifti, dicom-seg, rtstruct")
