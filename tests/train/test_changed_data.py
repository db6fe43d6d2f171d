"""A run knows its data by content: what changed, came or went is seen, and the same bytes elsewhere are the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.train.listener import Listener
from tests.train.small_cases import write_case

from unetr.core.files.atomic import write_text
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.evaluation.results import read_results
from unetr.jobs.models.ablate import ablate
from unetr.jobs.training import finish as finish_module
from unetr.jobs.training.crossval import fold_runs, gather_folds
from unetr.jobs.training.fit import fit_run
from unetr.jobs.training.prepare_run import prepare_run
from unetr.jobs.training.request import TrainingOptions
from unetr.prepare.datasets.cases import Dataset, open_dataset
from unetr.prepare.datasets.unlabelled import open_unlabelled
from unetr.train.observer import TrainingObserver
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_settings

pytestmark = pytest.mark.fault("changed data")


@pytest.fixture
def request_(plan_with: Callable[..., Plan]) -> TrainingOptions:
    return TrainingOptions(plan=plan_with(), steps=2, folds=2)


def same_size_and_time(path: Path) -> None:
    """Another gzip header, and so another file, of the same size and time."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[4] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "label": (lambda d: write_case(d / "x", "x", 9) or shutil.copy(d / "x/labels/x.nii.gz", d / "labels/case1.nii.gz"),
              r"the label of 1 case changed \(case1\)"),
    "label of the same size and time": (lambda d: same_size_and_time(d / "labels/case2.nii.gz"),
                                        r"the label of 1 case changed \(case2\)"),
    "scan": (lambda d: same_size_and_time(d / "images/case2.nii.gz"), r"the scan of 1 case changed \(case2\)"),
    "both": (lambda d: write_case(d, "case0", 9), r"scan and label of 1 case changed \(case0\)"),
    "exchanged": (lambda d: exchange(d / "labels/case0.nii.gz", d / "labels/case1.nii.gz"),
                  r"the label of 2 cases changed \(case0, case1\)"),
    "added": (lambda d: write_case(d, "new", 9), r"1 case added \(new\)"),
    "removed": (lambda d: [(d / kind / "case3.nii.gz").unlink() for kind in ("images", "labels")],
                r"1 case gone \(case3\)"),
    "renamed": (lambda d: [(d / kind / "case3.nii.gz").rename(d / kind / "case4.nii.gz")
                           for kind in ("images", "labels")], r"1 case added \(case4\); 1 case gone \(case3\)"),
    "names": (lambda d: (d / "labels.json").write_text(json.dumps({"background": 0, "disc": 1, "shell": 2})),
              "the plan has|the labels changed"),
}  # fmt: skip


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fold", [0, None])
def test_changed_data_is_refused_on_resume(
    data: Path, tmp_path: Path, request_: TrainingOptions, change: str, fold: int | None
) -> None:
    make, complaint = CHANGES[change]
    run, asked = Run(tmp_path / "run"), TrainingOptions(plan=request_.plan, steps=2, folds=2, fold=fold)
    prepare_run(open_dataset(data), run, asked, TrainingObserver())
    before = run.settings.read_bytes()
    prepare_run(open_dataset(data), run, asked, TrainingObserver())  # as it was
    make(data)
    with pytest.raises(InputError, match=complaint):
        prepare_run(open_dataset(data), run, asked, TrainingObserver())
    assert run.settings.read_bytes() == before


def test_moved_dataset_resumes_and_is_found_again(data: Path, tmp_path: Path, request_: TrainingOptions) -> None:
    run = Run(tmp_path / "runs/a")
    _, settings = prepare_run(open_dataset(data), run, request_, TrainingObserver())
    assert settings.dataset == str(Path("../../data"))
    moved = data.rename(tmp_path / "elsewhere")
    for path in moved.rglob("*"):
        os.utime(path)
    _, resumed = prepare_run(open_dataset(moved), run, request_, TrainingObserver())
    assert resumed == read_settings(run)
    assert resumed == settings.model_copy(update={"dataset": str(Path("../../elsewhere"))})
    assert str(tmp_path) not in run.settings.read_text()


def test_unlabelled_scans_are_known_by_content_too(data: Path, tmp_path: Path, plan_with: Callable[..., Plan]) -> None:
    run, asked = Run(tmp_path / "run"), TrainingOptions(preset="tiny", steps=2, fold=None)
    prepare_run(open_unlabelled(data / "images", ["MRI"]), run, asked, TrainingObserver())
    same_size_and_time(data / "images/case1.nii.gz")
    with pytest.raises(InputError, match="the scan of 1 case changed"):
        prepare_run(open_unlabelled(data / "images", ["MRI"]), run, asked, TrainingObserver())


def test_plan_that_was_edited_in_the_run_is_refused(data: Path, tmp_path: Path, request_: TrainingOptions) -> None:
    run, asked = Run(tmp_path / "run"), TrainingOptions(preset="tiny", steps=2, folds=2)
    prepare_run(open_dataset(data), run, asked, TrainingObserver())
    text = run.plan.read_text()
    run.plan.write_text(text.replace("overlap: 0.5", "overlap: 0.25"))
    with pytest.raises(InputError, match=r"plan\.yaml: was edited since the run began"):
        prepare_run(open_dataset(data), run, asked, TrainingObserver())
    run.plan.write_text(text)
    prepare_run(open_dataset(data), run, asked, TrainingObserver())
    run.plan.unlink()
    with pytest.raises(InputError, match=r"plan\.yaml: no such file"):
        prepare_run(open_dataset(data), run, asked, TrainingObserver())


def test_run_of_a_version_without_digests_goes_on_with_a_note(
    data: Path, tmp_path: Path, request_: TrainingOptions
) -> None:
    run, notes = Run(tmp_path / "run"), []
    prepare_run(open_dataset(data), run, request_, TrainingObserver())
    old = json.loads(run.settings.read_text()) | {"dataset": str(data)}
    del old["data"], old["plan_digest"]
    run.settings.write_text(json.dumps(old))
    fit_run(open_dataset(data), run, request_, Listener(on_note=notes.append))
    assert len(notes) == 1 and "kept no digests" in notes[0]
    assert read_settings(run).data is None
    moved = data.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="dataset: there"):
        fit_run(open_dataset(moved), run, request_, TrainingObserver())


def test_finished_run_never_shows_old_scores_as_current(data: Path, tmp_path: Path, request_: TrainingOptions) -> None:
    run = Run(tmp_path / "run")
    first = fit_run(open_dataset(data), run, request_, TrainingObserver())
    assert first is not None
    # Scores that something else wrote there, as `unetr evaluate` with other labels does, are not the run's.
    scores = run.predictions / "results.json"
    kept = scores.read_text()
    others = json.dumps(json.loads(kept) | {"scores": json.loads(kept)["scores"][:1]})
    scores.write_text(others)
    with pytest.raises(InputError, match=r"results\.json: was changed since unetr wrote it"):
        fit_run(open_dataset(data), run, request_, TrainingObserver())
    write_text(scores, others)
    again = fit_run(open_dataset(data), run, request_, TrainingObserver())
    assert again == first == read_results(scores)
    victim = first.cases[0]
    same_size_and_time(data / f"labels/{victim}.nii.gz")
    with pytest.raises(InputError, match=rf"holds a run of other data: the label of 1 case changed \({victim}\)"):
        fit_run(open_dataset(data), run, request_, TrainingObserver())
    assert (
        ablate(run.folder, TrainingObserver())["nothing"].mean_dice >= 0
    )  # of the prepared cases, which are as they were
    record = run.cache / f"{victim}.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"key": "another"}))
    with pytest.raises(InputError, match="was prepared again"):
        ablate(run.folder, TrainingObserver())


@pytest.mark.parametrize("when", ["before", "while"])
def test_label_that_changes_during_the_training_is_not_scored(
    data: Path, tmp_path: Path, request_: TrainingOptions, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """`before` the validation cases are predicted, and `while` they are."""
    run, evaluate = Run(tmp_path / "run"), finish_module.evaluate_pairs

    def change(*_: object) -> None:
        for path in (data / "labels").iterdir():
            same_size_and_time(path)

    def evaluate_changed(*args: object, **kwargs: object) -> object:
        change()
        return evaluate(*args, **kwargs)  # type: ignore[arg-type]

    if when == "while":
        monkeypatch.setattr(finish_module, "evaluate_pairs", evaluate_changed)
    observer = TrainingObserver()
    if when == "before":
        observer = Listener(on_step=lambda report: change() if report.step == 1 else None)
    with pytest.raises(InputError, match=r"model\.safetensors is written, but not scored: .* label of 2 cases changed"):
        fit_run(open_dataset(data), run, request_, observer)
    assert run.model.exists() and not (run.predictions / "results.json").exists()


def test_folds_of_different_data_are_not_gathered(data: Path, tmp_path: Path, request_: TrainingOptions) -> None:
    runs = fold_runs(tmp_path / "all", 2)
    dataset: Dataset = open_dataset(data)
    for fold, run in enumerate(runs):
        fit_run(dataset, run, TrainingOptions(plan=request_.plan, steps=2, folds=2, fold=fold), TrainingObserver())
        if fold == 0:
            same_size_and_time(data / "labels/case1.nii.gz")
    with pytest.raises(InputError, match="fold0: holds a run of other data"):
        gather_folds(tmp_path / "all", dataset, runs, TrainingObserver())
    assert not (tmp_path / "all/results.json").exists()
