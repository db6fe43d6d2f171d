"""The report of a prediction: what reads back, and what of it is believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from unetr.errors import InputError
from unetr.jobs.predict.report import (
    CaseRecord,
    FileDigest,
    Report,
    digest_of,
    read_report,
    still_valid,
    write_report,
)


def _report(**changes: object) -> Report:
    model = FileDigest(file="m.safetensors", bytes=3, sha256="0" * 64)
    whole = {"unetr": "1", "models": (model,), "settings": {"tta": False, "series": ["1.2"]}, "cases": ()} | changes
    return Report.model_validate(whole)


def test_a_report_reads_back_as_it_was_written(tmp_path: Path) -> None:
    cases = (
        CaseRecord(id="a", state="done", volumes_ml={"ball": 0.1 + 0.2}, warnings=("w",)),
        CaseRecord(id="ü", state="failed", error="why"),
        CaseRecord(id="z"),
    )
    report = _report(cases=cases)
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report
    said = json.loads((tmp_path / "report.json").read_text())
    assert said["counts"] == {"done": 1, "skipped": 0, "failed": 1, "pending": 1}
    assert read_report(tmp_path / "none.json") is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"format": "other"}', "\x00", "[" * 100_000])
def test_another_file_in_the_place_of_the_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match=r"report\.json: .*report of unetr predict"):
        read_report(tmp_path / "report.json")


def test_origin_is_version_models_and_settings() -> None:
    other_model = FileDigest(file="m.safetensors", bytes=3, sha256="1" * 64)
    renamed = FileDigest(file="renamed.safetensors", bytes=3, sha256="0" * 64)
    report = _report()
    assert report.same_origin(_report(models=(renamed,), cases=(CaseRecord(id="a"),)))
    for change in ({"unetr": "2"}, {"models": (other_model,)}, {"models": ()}, {"settings": {"tta": True}}):
        assert not report.same_origin(_report(**change))


def test_digest_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    (folder / "b").mkdir(parents=True)
    for name, content in {"z.dcm": b"1", "b/y.dcm": b"22", ".DS_Store": b"x"}.items():
        (folder / name).write_bytes(content)
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"1", b"22"))
    assert digest_of(folder / "z.dcm") == FileDigest(file="z.dcm", bytes=1, sha256=one)
    listing = f"{two}  b/y.dcm\n{one}  z.dcm\n"
    assert digest_of(folder) == FileDigest(file="scan", bytes=3, sha256=hashlib.sha256(listing.encode()).hexdigest())
    (folder / "z.dcm").rename(folder / "a.dcm")
    assert digest_of(folder).sha256 != hashlib.sha256(listing.encode()).hexdigest()
    with pytest.raises(InputError, match="absent"):
        digest_of(tmp_path / "absent")


def test_only_what_is_proven_is_still_valid(tmp_path: Path) -> None:
    scan, label, extra = tmp_path / "scan.nii", tmp_path / "label.nii", tmp_path / "extra.png"
    for path in (scan, label, extra):
        path.write_bytes(path.name.encode())
    inputs = (digest_of(scan),)
    record = CaseRecord(id="a", state="done", inputs=inputs, outputs=(digest_of(label),))
    assert still_valid(record, inputs, {"label": label})
    assert still_valid(record.model_copy(update={"state": "skipped"}), inputs, {"label": label})
    for state in ("failed", "pending"):
        assert not still_valid(record.model_copy(update={"state": state}), inputs, {"label": label})
    assert not still_valid(record, inputs, {"label": label, "preview": extra})  # it is there, but not in the report
    scan.write_bytes(b"scam.nii")
    assert not still_valid(record, (digest_of(scan),), {"label": label})
    label.write_bytes(b"babel.nii")
    assert not still_valid(record, inputs, {"label": label})
    label.write_bytes(b"label.ni")
    assert not still_valid(record, inputs, {"label": label})
    label.unlink()
    assert not still_valid(record, inputs, {"label": label})
