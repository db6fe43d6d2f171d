"""Folders of scans: the report, and --continue."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.app.folder_reports import labels, report_of, sha256, states

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]
FilesIn = Callable[[Path], list[str]]


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
