"""unetr.predict as a server uses it: in a thread, heard window by window, ended in the middle, several at a time."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import numpy as np
import pytest

import unetr
from unetr.errors import InputError, StoppedError
from unetr.infer.options import PredictKeywords, PredictOptions
from unetr.jobs.predict.report import CaseRecord
from unetr.jobs.predict.request import PredictRequest, RequestKeywords


class Heard(unetr.PredictObserver):
    """Writes down what it is told. stop: after so many windows of this case it asks to stop."""

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        self.said: list[tuple[object, ...]] = []
        self.windows: dict[str, list[tuple[int, int]]] = {}
        self.threads: set[int] = set()
        self.case = ""
        self.stop = stop

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        self.said.append((name, done, of))

    def on_case_started(self, case: str) -> None:
        self.threads.add(threading.get_ident())
        self.case = case
        self.said.append(("started", case))

    def on_windows(self, done: int, of: int) -> None:
        self.threads.add(threading.get_ident())
        self.windows.setdefault(self.case, []).append((done, of))

    def on_case_done(self, record: CaseRecord) -> None:
        self.said.append((record.state, record.id))

    def on_case_failed(self, record: CaseRecord) -> None:
        self.said.append(("failed", record.id))

    def should_stop(self) -> bool:
        return self.stop is not None and self.stop in [(self.case, done) for done, _ in self.windows.get(self.case, ())]


@pytest.fixture
def scans(tmp_path: Path, datasets: ModuleType) -> Path:
    """Three scans of several windows each."""
    for seed, name in enumerate("abc"):
        sample = datasets.KINDS["balls"].make(seed, 1)
        datasets.save_scan(tmp_path / f"scans/{name}.nii.gz", sample.channels[0], sample.affine)
    return tmp_path / "scans"


@pytest.fixture(scope="module")
def segmenter(tiny_model: Path) -> unetr.Segmenter:
    return unetr.load(tiny_model, precision="fp32")


def results(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.nii.gz")}


def in_a_thread(work: Callable[[], object]) -> BaseException | None:
    """Runs it to its end; returns what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # looked at by the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return raised[0] if raised else None


def test_an_observer_hears_of_cases_in_order_and_of_every_window(
    segmenter: unetr.Segmenter, scans: Path, tmp_path: Path
) -> None:
    (scans / "bad.nii.gz").write_bytes(b"")
    heard = Heard()
    outcome = unetr.predict(segmenter, scans, tmp_path / "out", observer=heard)
    of_cases = [said for said in heard.said if said[0] != "predicting"]
    assert [name for kind, name in of_cases if kind == "started"] == ["a", "b", "c"]
    ends = [said for said in of_cases if said[0] != "started"]
    assert ends == [("done", "a"), ("done", "b"), ("failed", "bad"), ("done", "c")]
    assert [said[1:] for said in heard.said if said[0] == "predicting"] == [(done, 4) for done in range(5)]
    for counted in heard.windows.values():
        (of,) = {of for _, of in counted}
        assert [done for done, _ in counted] == list(range(of + 1)) and of > 4
    assert heard.threads == {threading.get_ident()}
    assert set(outcome.finished) == {"a", "b", "c"} and "is empty" in outcome.failed["bad"]
    assert outcome.files["a"]["label"] == tmp_path / "out/a.nii.gz" and outcome.report == tmp_path / "out/report.json"


def test_a_prediction_that_is_ended_within_a_scan_leaves_whole_files_and_can_go_on(
    segmenter: unetr.Segmenter, scans: Path, tmp_path: Path
) -> None:
    clean, out = tmp_path / "clean", tmp_path / "out"
    unetr.predict(segmenter, scans, clean)
    heard = Heard(stop=("b", 3))
    error = in_a_thread(lambda: unetr.predict(segmenter, scans, out, preview=True, observer=heard))
    assert isinstance(error, StoppedError) and "b.nii.gz, 3 of" in str(error)
    assert heard.windows["b"][-1][0] == 3 and "c" not in heard.windows
    names = sorted(path.name for path in out.iterdir())
    assert names == [".unetr_outputs", "a.nii.gz", "a.png", "report.json"]
    states = {case["id"]: case["state"] for case in json.loads((out / "report.json").read_text())["cases"]}
    assert states == {"a": "done", "b": "pending", "c": "pending"}
    # The next one works, in the same process and by the same model, and takes what is finished.
    again: list[Any] = []
    assert in_a_thread(lambda: again.append(unetr.predict(segmenter, scans, out, preview=True, resume=True))) is None
    assert {case: record.state for case, record in again[0].records.items()} == {
        "a": "skipped",
        "b": "done",
        "c": "done",
    }
    assert results(out) == results(clean) and len(results(out)) == 3


def test_a_single_scan_that_is_ended_leaves_nothing(segmenter: unetr.Segmenter, scans: Path, tmp_path: Path) -> None:
    heard = Heard(stop=("a", 1))
    with pytest.raises(StoppedError, match=r"a\.nii\.gz, 1 of"):
        unetr.predict(segmenter, scans / "a.nii.gz", tmp_path / "new/label.nii.gz", observer=heard)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans"]
    with pytest.raises(StoppedError):
        heard.case, heard.windows = "a", {}
        segmenter.predict(scans / "a.nii.gz", observer=heard)
    unetr.predict(segmenter, scans / "a.nii.gz", tmp_path / "new/label.nii.gz")
    assert (tmp_path / "new/label.nii.gz").is_file()


def test_several_predictions_at_once_are_those_of_one_after_the_other(
    segmenter: unetr.Segmenter, scans: Path, tmp_path: Path
) -> None:
    paths = sorted(scans.iterdir())
    expected = [segmenter.predict(path).labels.data for path in paths]
    assert not np.array_equal(expected[0], expected[1])
    found: dict[int, Any] = {}
    together = threading.Barrier(len(paths))

    def one(number: int) -> None:
        together.wait(30)
        for _ in range(3):
            found[number] = segmenter.predict(unetr.read_volume(paths[number])).labels.data

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(np.array_equal(found[number], expected[number]) for number in range(len(paths)))


def test_two_jobs_do_not_write_one_folder_at_once(segmenter: unetr.Segmenter, scans: Path, tmp_path: Path) -> None:
    refused: list[BaseException | None] = []

    class Second(unetr.PredictObserver):
        def on_case_started(self, case: str) -> None:
            if case == "b":
                refused.append(in_a_thread(lambda: unetr.predict(segmenter, scans, tmp_path / "out")))

    outcome = unetr.predict(segmenter, scans, tmp_path / "out", observer=Second())
    assert len(outcome.finished) == 3
    assert isinstance(refused[0], InputError) and "is being written by another process" in str(refused[0])


@pytest.mark.parametrize(("form", "end"), [("dicom-seg", ".seg.dcm"), ("rtstruct", ".rtstruct.dcm")])
def test_dicom_results_from_python_are_those_of_the_job(
    form: str, end: str, segmenter: unetr.Segmenter, maker: ModuleType, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(0).integers(0, 1000, (24, 20, 18), dtype=np.int16)
    maker.write_series(tmp_path / "series", voxels)
    outcome = unetr.predict(segmenter, tmp_path / "series", tmp_path / "out", format=form)
    ((_, files),) = outcome.files.items()
    prediction = segmenter.predict(tmp_path / "series")
    by_name = prediction.save(tmp_path / f"mine{end}")
    by_format = prediction.save(tmp_path / "mine.dcm", form)
    assert files["label"].read_bytes() == by_name.read_bytes() == by_format.read_bytes()
    with pytest.raises(InputError, match=r"does not say which kind of DICOM.*\.seg\.dcm or \.rtstruct\.dcm"):
        prediction.save(tmp_path / "plain.dcm")
    with pytest.raises(InputError, match="format nii: is unknown"):
        prediction.save(tmp_path / "label.nii.gz", "nii")


def test_a_plain_scan_has_no_dicom_result(segmenter: unetr.Segmenter, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        segmenter.predict(scans / "a.nii.gz").save(tmp_path / "a.seg.dcm")
    assert "--" not in str(refused.value) and not (tmp_path / "a.seg.dcm").exists()
    with pytest.raises(InputError, match="is no DICOM") as refused:
        unetr.predict(segmenter, scans, tmp_path / "out", format="rtstruct")
    assert "--" not in str(refused.value) and not (tmp_path / "out").exists()


def test_errors_name_the_file_whatever_found_them(segmenter: unetr.Segmenter, scans: Path) -> None:
    flat = unetr.read_volume(scans / "a.nii.gz")
    unetr.write_volume(scans / "flat.nii.gz", flat.with_data(np.full_like(flat.data, 3)))
    with pytest.raises(InputError, match=r"flat\.nii\.gz: channel 'MRI' is constant"):
        segmenter.predict(scans / "flat.nii.gz")
    with pytest.raises(InputError, match=r"a\.nii\.gz: .*needs at least .*") as refused:
        segmenter.predict(scans / "a.nii.gz", memory_limit_bytes=10**6)
    assert refused.value.hint == "memory_limit" and "--" not in str(refused.value)
    with pytest.raises(InputError, match="the scan: channel 'MRI' is constant"):
        segmenter.predict(flat.with_data(np.full_like(flat.data, 3)))


def test_an_ensemble_from_python_is_that_of_load(tiny_model: Path, scans: Path, tmp_path: Path) -> None:
    other = shutil.copy(tiny_model, tmp_path / "other.safetensors")
    outcome = unetr.predict([tiny_model, other], scans / "a.nii.gz", tmp_path / "a.nii.gz", precision="fp32")
    labels = unetr.load([tiny_model, other], precision="fp32").predict(scans / "a.nii.gz").labels.data
    assert list(outcome.finished) == ["a"]
    np.testing.assert_array_equal(unetr.read_volume(tmp_path / "a.nii.gz").data, labels)


@pytest.mark.parametrize(
    ("keywords", "options", "others"),
    [(PredictKeywords, PredictOptions, set()), (RequestKeywords, PredictRequest, {"scans", "out"})],
)
def test_what_is_taken_by_keyword_is_what_the_options_have(keywords: Any, options: Any, others: set[str]) -> None:
    have = get_type_hints(options)
    assert {field.name for field in fields(options)} - others == set(get_type_hints(keywords))
    assert all(have[name] == kind for name, kind in get_type_hints(keywords).items())
