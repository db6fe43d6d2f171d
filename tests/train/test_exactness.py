"""Killed, refused, stopped: what a run is resumed from is whole, and what comes of it is the run that was left alone.

Small versions of benchmarks/kill_resume.py and benchmarks/checkpoint_faults.py, and what they found.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from benchmarks.write_calls import Before, Call, DiskFull, Nth, refuse, watching
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.train.listener import Listener
from tests.train.test_loop import bits, settings, start

from unetr.core.plan.schema import Plan
from unetr.errors import MachineError
from unetr.model.file.sealed import read_sealed
from unetr.prepare.cache import Cache
from unetr.train.loop import Options, train
from unetr.train.observer import TrainedStep, TrainingObserver
from unetr.train.optimise.state import TrainingState
from unetr.train.run.checkpoint import KIND, restore_checkpoint, save_checkpoint
from unetr.train.run.events import TensorBoard
from unetr.train.run.logs import append_row, cut_rows
from unetr.train.run.settings import read_settings
from unetr.train.validate import Validation

PlanWith = Callable[..., Plan]
ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("one_thread")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_a_call(call: Call) -> bool:
    return call.kind != "removed"


FAULTS: dict[str, Callable[[int], Before]] = {
    "the disk is full": lambda n: DiskFull(n, is_a_call),
    "the disk reported an input/output error": lambda n: Nth(n, is_a_call, refuse(errno.EIO)),
}


def each_refused(folder: Path, fault: Callable[[int], Before], act: Callable[[], object]) -> Iterator[MachineError]:
    """Does something again and again, each time another one of its calls that write is refused, until none is."""
    for n in range(1, 1000):
        try:
            with watching(folder, fault(n)):
                act()
        except MachineError as error:
            yield error
        else:
            assert n > 1
            return
    raise AssertionError("there is no end of calls")


# ---------------------------------------------------------------------------------------------------------------------
# Refused writes


def small_state() -> TrainingState:
    torch.manual_seed(5)
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    averaged = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    return TrainingState(1, network, optimizer, averaged, best_dice=0.25)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_of_which_any_call_is_refused_leaves_the_one_before(tmp_path: Path, fault: str) -> None:
    state = small_state()
    for state.step in (1, 2):
        save_checkpoint(tmp_path, state)
    before, expected, state.step = contents(tmp_path), bits(state), 3
    new, refusals, after = tmp_path / "step-00000003.safetensors", 0, 0
    for error in each_refused(tmp_path, FAULTS[fault], lambda: save_checkpoint(tmp_path, state)):
        refusals += 1
        assert fault in str(error) and str(tmp_path / "step-0000000") in str(error) and "\n" not in str(error)
        if new.exists():  # it had its name before the refusal, and so must be whole
            after += 1
            assert read_sealed(new, KIND)[1]["step"] == "3"
            new.unlink()
        assert contents(tmp_path) == before, refusals
        other = small_state()
        assert restore_checkpoint(tmp_path, other) is not None
        assert (other.step, bits(other)) == (2, expected)
    # Header, six arrays and more, the digest: each refused before it and in the middle; open, two flushes, rename.
    assert refusals > 20 and after == 2  # the folder's flush, and the removal of the first one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002.safetensors", new.name]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_row_of_which_any_call_is_refused_is_cut_off_again(tmp_path: Path, fault: str) -> None:
    log = tmp_path / "log.csv"
    row: dict[str, float | int] = {"step": 1, "loss": 0.12345, "rate": 1e-3}
    for step in (1, 2):
        before = log.read_bytes() if log.exists() else b""
        for error in each_refused(tmp_path, FAULTS[fault], lambda at=step: append_row(log, row | {"step": at})):
            assert fault in str(error) and str(log) in str(error) and "\n" not in str(error)
            cut_rows([log], step - 1)
            after = log.read_bytes() if log.exists() else b""
            assert after == before or (step == 1 and after == b"step,loss,rate\n")
    assert log.read_text() == "step,loss,rate\n1,0.12345,0.001\n2,0.12345,0.001\n"


def test_a_header_that_does_not_read_back_is_refused_in_one_line(tmp_path: Path) -> None:
    def spoil(call: Call) -> None:
        if call.kind == "flush" and call.path.is_file():
            with call.path.open("r+b") as handle:
                handle.seek(10)
                handle.write(b"\xff\xff")

    with watching(tmp_path, spoil), pytest.raises(MachineError, match="what was read back is not what was written"):
        save_checkpoint(tmp_path, small_state())
    assert list(tmp_path.iterdir()) == []


def test_events_read_back_and_a_full_disk_is_one_line(tmp_path: Path) -> None:
    report = TrainedStep(7, 9, 0.5, 0.25, 0.25, 1e-3, 2.0, 0.1, 0.0)
    seen: list[object] = []
    observer = TensorBoard(tmp_path, Listener(on_step=seen.append, on_validation=seen.append))
    observer.on_step(report)
    observer.on_validation(Validation(7, 0.75, {"ball": 0.5}))
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in read.Scalars("train/loss")] == [(7, 0.5)]
    assert [(event.step, event.value) for event in read.Scalars("dice/ball")] == [(7, 0.5)]
    full = FAULTS["the disk is full"](2)
    with watching(tmp_path, full), pytest.raises(MachineError, match=r"tfevents.*: the disk is full"):
        observer.on_step(report)
    assert len(seen) == 2


def test_events_hand_on_whatever_an_observer_hears(tmp_path: Path) -> None:
    """Every method of an observer, also one that is added later."""
    names = [name for name in dir(TrainingObserver) if not name.startswith("_")]
    report = TrainedStep(7, 9, 0.5, 0.25, 0.25, 1e-3, 2.0, 0.1, 0.0)
    given = {"on_step": (report,), "on_validation": (Validation(7, 0.75, {}),), "on_stage": ("checking", 1, 2)}
    given |= {"on_fold": (0, 5)}
    heard: list[object] = []
    tellers = {name: lambda *words, name=name: heard.append((name, *words)) for name in names}
    observer = TensorBoard(tmp_path, Listener(**tellers))
    for name in names:
        words = given.get(name, () if name == "should_stop" else ("something",))
        getattr(observer, name)(*words)
        assert heard.pop() == (name, *words)
    assert {"on_step", "on_validation", "on_transfer", "on_note", "on_stage", "should_stop"} <= set(names)


# ---------------------------------------------------------------------------------------------------------------------
# What a kill leaves


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        ("", None),
        ("step,los", None),
        ("step,dice_größ".encode()[:-1], None),
        ("step,loss\n", "step,loss\n"),
        ("step,loss\n1,0.5\n2,0.25\n3,0.125\n", "step,loss\n1,0.5\n2,0.25\n"),
        ("step,loss\n1,0.5\n2,0.2", "step,loss\n1,0.5\n"),
        ("step,loss\n1,0.5\n2\n", "step,loss\n1,0.5\n"),
        ("step,loss\n1,0.5\n\0\0\0\0\n", "step,loss\n1,0.5\n"),
        ('step,"dice_left, front"\n1,0.5\n3,0.25\n', 'step,"dice_left, front"\n1,0.5\n'),
    ],
)
def test_logs_are_cut_to_their_whole_rows(tmp_path: Path, left: str | bytes, kept: str | None) -> None:
    """A file that was made and not written, a header or a row cut short anywhere, a name that has to be quoted."""
    log = tmp_path / "log.csv"
    log.write_bytes(left if isinstance(left, bytes) else left.encode())
    cut_rows([log, tmp_path / "absent.csv"], 2)
    assert (log.read_text() if log.exists() else None) == kept
    append_row(log, {"step": 3, "loss": 0.75})
    assert log.read_text() == (kept or "step,loss\n") + "3,0.75\n"


def test_a_run_killed_while_its_plan_was_written_is_begun_again(tmp_path: Path, plan_with: PlanWith) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".unetr-0123456789ab.yaml").write_text("half")
    run, asked = start(folder, plan_with(), settings())
    assert read_settings(run) == asked


def test_what_kills_left_is_gone_after_resuming(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    """Temporary files, and a checkpoint more than two; the rest of the run's folder is as it was."""
    run, asked = start(tmp_path / "run", plan_with(), settings(steps=4, schedule_steps=4))
    train(run, cache, plan_with(), asked, TrainingObserver(), Options(checkpoint_steps=2))
    before = contents(run.folder)
    (run.checkpoints / "step-00000001.safetensors").write_bytes(b"killed before it was removed")
    for folder in (run.folder, run.checkpoints, run.predictions):
        folder.mkdir(exist_ok=True)
        (folder / ".unetr-0123456789ab.safetensors").write_bytes(b"half")
    train(run, cache, plan_with(), asked, TrainingObserver())
    assert contents(run.folder) == before


def test_damaged_checkpoints_do_not_come_back(tmp_path: Path) -> None:
    """The run goes back to the last sound one; what is ahead of it must neither be resumed later nor push it out."""
    state = small_state()
    for state.step in (1, 2):
        save_checkpoint(tmp_path, state)
    for step in (3, 4):
        (tmp_path / f"step-{step:08d}.safetensors").write_bytes(b"damaged")
    assert restore_checkpoint(tmp_path, state) == tmp_path / "step-00000002.safetensors"
    save_checkpoint(tmp_path, state)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"step-0000000{n}.{kind}" for n, kind in enumerate(["safetensors"] * 2 + ["damaged"] * 2, 1)]


def test_no_checkpoint_is_ahead_of_its_log_on_the_disk(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    """A power cut loses what was not flushed, so rows are flushed before the checkpoint after them has its name."""
    run, asked = start(tmp_path / "run", plan_with(), settings(steps=4, schedule_steps=4))
    calls: list[Call] = []
    with watching(run.folder, calls.append):
        train(run, cache, plan_with(), asked, TrainingObserver(), Options(checkpoint_steps=2))
    of_log = ["row" if call.kind == "write" else call.kind for call in calls if call.path == run.log]
    assert of_log.count("flush") == 2
    done = [
        call.kind
        for call in calls
        if (call.path == run.log and call.kind in ("write", "flush")) or call.path.name.startswith("step-")
    ]
    assert done == ["write", "write", "flush", "rename"] * 2


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the benchmark says of a few of its kills."""
    places = ["checkpoint: some", "checkpoint: one of two", "logs cut"]
    options = ["--out", tmp_path_factory.mktemp("killed") / "runs", "--each", "1", "--random", "0", "--only", *places]
    path = os.pathsep.join((str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])))
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "kill_resume.py", *options],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc, where open files have their names")
def test_killed_at_certain_calls_and_resumed_is_the_run_that_was_left_alone(killed: str) -> None:
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in killed.splitlines() if line[:2] == "| "]
    of_place = {place: (int(kills), int(runs), int(same)) for place, kills, runs, same, *_ in table[1:]}
    assert of_place.pop("all") == (5, 3, 3)
    assert len(of_place) == 3 and all(runs == same == 1 for _, runs, same in of_place.values())
