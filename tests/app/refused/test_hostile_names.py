"""Names from files never act on a terminal, a page or a spreadsheet: every command, with names made to do that."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from rich.progress import Progress

from unetr.app.printing import print_json, print_table, say, write_line
from unetr.app.views.progress import progress

Command = Callable[..., Any]

TERMINAL = pytest.mark.fault("terminal control")
LABELS = ("[bold red]ball\x1b[31m$x^2$", "=cmd|' /C calc'!A0\u202e\x9b2J<script>alert(1)</script>")
CASE = "[/case]\u202e_\u200b$\\alpha$"  # file names with lower control characters are refused as ids
FOLDER = "data [bold]\u2066\x1b]0;owned\x07"


def unsafe(text: str) -> set[str]:
    """What must not be shown: controls but line feeds, format characters, separators, halves of characters."""
    return {hex(ord(c)) for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c not in "\n\t"}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, datasets: ModuleType) -> Path:
    """Six cases in folders; names of the folder, of the labels, of a channel file and of every case are hostile."""
    root = tmp_path_factory.mktemp("hostile") / FOLDER
    for number in range(6):
        sample = datasets.KINDS["balls"].make(number, 1)
        name = f"{'=+-@'[number % 4]}{CASE}{number}".replace("\\", "").replace("[/case]", "[case]")
        datasets.save_scan(root / f"images/{name}.nii.gz", sample.channels[0], sample.affine)
        datasets.save_scan(root / f"labels/{name}.nii.gz", sample.label, sample.affine)
    names = {"background": 0, LABELS[0]: 1, LABELS[1]: 2}
    (root / "labels.json").write_text(json.dumps(names))
    return root


@pytest.fixture(scope="module")
def plan(hostile: Path, tmp_path_factory: pytest.TempPathFactory, unetr: Command, shrink_plan: Any) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    outcome = unetr("plan", hostile, "--preset", "tiny", "-o", folder)
    assert outcome.code == 0 and not unsafe(outcome.out + outcome.err), outcome
    assert not unsafe((folder / "plan.yaml").read_text())
    edited: Path = shrink_plan(folder / "plan.yaml", folder / "edited.yaml")
    data = yaml.safe_load(edited.read_text())
    assert set(LABELS) < set(data["labels"])
    data["dataset"] = "[red]\x1b[2Jdataset\u202e"
    data["reasons"]["window"] = "because \x1b]8;;http://x\x07 of [link=x]\u2028"
    edited.write_text(yaml.safe_dump(data))
    return edited


@pytest.fixture(scope="module")
def trained(hostile: Path, plan: Path, tmp_path_factory: pytest.TempPathFactory, unetr: Command) -> Path:
    run = tmp_path_factory.mktemp("run") / "run [red]\u202e"
    outcome = unetr("train", hostile, "-o", run, "--plan", plan, "--steps", 4)
    assert outcome.code == 0, outcome
    assert not unsafe(outcome.out + outcome.err)
    assert LABELS[0].replace("\x1b", "\\x1b")[:20] in outcome.out
    return run


def written(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*"):
        if path.suffix in (".csv", ".html", ".yaml", ".json") and "cache" not in path.parts:
            yield path, path.read_text()


@TERMINAL
def test_what_a_run_writes(trained: Path, unetr: Command) -> None:
    outcome = unetr("report", trained)
    assert outcome.code == 0 and not unsafe(outcome.out + outcome.err), outcome
    files = dict(written(trained))
    assert {path.suffix for path in files} == {".csv", ".html", ".yaml", ".json"}
    for path, text in files.items():
        if path.suffix != ".json" or path.name == "results.json":  # settings.json is JSON for this program alone
            assert not unsafe(text), path
    page = next(text for path, text in files.items() if path.suffix == ".html")
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


@pytest.mark.fault("spreadsheet formula")
def test_no_cell_of_a_run_is_a_formula(trained: Path) -> None:
    tables = [(path, text) for path, text in written(trained) if path.suffix == ".csv"]
    assert {"results.csv", "log.csv", "validation.csv"} <= {path.name for path, _ in tables}
    for path, text in tables:
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                number = cell.replace(".", "").replace("e-", "").lstrip("-+").isdigit()
                assert number or not cell.lstrip().startswith(("=", "+", "-", "@")), (path, cell)


@TERMINAL
def test_commands_on_a_hostile_model(trained: Path, hostile: Path, unetr: Command, tmp_path: Path) -> None:
    model, out = trained / "model.safetensors", tmp_path / "out"
    scans, stats = hostile / "images", tmp_path / "stats.csv"
    for arguments in (
        ("info", model),
        ("info", model, "--json"),
        ("predict", model, scans, "-o", out, "--stats", stats),
        ("predict", model, scans, "-o", out, "--continue", "--json"),
        ("evaluate", out, hostile / "labels", "--per-case"),
        ("evaluate", out, hostile / "labels", "--json"),
        ("info", next(out.glob("*.nii.gz"), out)),
        ("ablate", trained),
        ("predict", model, tmp_path / "\x1b[2Jnone\u202e.nii.gz", "-o", out),
        ("train", hostile, "-o", trained, "--steps", 5),
        ("check", tmp_path / "[bold]\x1b[31m"),
        ("\x1b[31mnothing",),
        ("info", "--\x1b[31m"),
    ):
        if arguments[0] == "info" and arguments[1] == out:
            arguments = ("info", next(out.glob("*.nii.gz")))
        outcome = unetr(*arguments)
        assert outcome.code in (0, 2, 3), outcome
        assert not unsafe(outcome.out + outcome.err), arguments
    assert not unsafe(stats.read_text())
    rows = list(csv.reader(io.StringIO(stats.read_text())))
    assert len(rows) == 13
    assert all(cell[0] not in "=@" for row in rows for cell in row if cell)
    assert not unsafe((out / "report.json").read_text())


@TERMINAL
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_check_of_a_hostile_dataset(hostile: Path, unetr: Command, options: list[str]) -> None:
    outcome = unetr("check", hostile, *options)
    assert outcome.code == 0 and not unsafe(outcome.out + outcome.err), outcome


@TERMINAL
def test_label_names_that_a_header_carries(tmp_path: Path, unetr: Command) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    names = json.dumps({"unetr_label_names": {"1": LABELS[1]}}).encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", names))
    image.header["descrip"] = b"\x1b[31mred\x07"
    path = tmp_path / "x\x1b[1m\u202e.nii.gz"
    nibabel.save(image, path)
    for options in ([], ["--json"]):
        outcome = unetr("info", path, *options)
        assert outcome.code == 0 and not unsafe(outcome.out + outcome.err), outcome
        assert "cmd|" in outcome.out


MARKUP = ["[bold red]x", "[/x]", "[/]", "[link=http://x]y[/link]", ":smile:", "\\[a]", "[[x]]", "[on red", "{0}", "%s"]


@TERMINAL
@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_shown_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(f"title {text}", (f"head {text}", "b"), [(f"cell {text}", "1")])
    write_line(text)
    say(text)
    shown = capsys.readouterr()
    assert [part for part in ("title", "head", "cell") if f"{part} {text}" not in shown.out] == []
    assert shown.err == f"{text}\n" and shown.out.endswith(f"{text}\n")


@TERMINAL
@pytest.mark.parametrize("text", [*MARKUP, "\x1b[31m\u202e\n"])
def test_a_bar_shows_it_as_it_is(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    bar = progress()
    assert isinstance(bar, Progress)
    bar.live.console = Console(file=screen, width=200)
    bar.add_task(f"doing {text}", note=f"on {text}")
    bar.live.console.print(bar.get_renderable())
    shown = text.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e").replace("\n", "\\n")
    assert f"doing {shown}" in screen.getvalue() and f"on {shown}" in screen.getvalue()


@TERMINAL
def test_json_for_machines_is_unchanged_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"name": LABELS[1], "letters": "肝é", "lone": "\udc80", "rows": [LABELS[0], "a\nb\u2028"]}
    print_json(data)
    shown = capsys.readouterr().out
    assert json.loads(shown) == data and not unsafe(shown) and "肝é" in shown


@TERMINAL
def test_what_libraries_and_python_say() -> None:
    code = "import logging, warnings, unetr.app.cli as c\nc._quieten()\nbad = chr(27) + '[31m' + chr(0x202e)\n"
    code += "logging.getLogger('x').warning('a %s', bad)\nwarnings.warn(bad)\nraise ValueError(bad)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not unsafe(done.stderr)
    shown = [line for line in done.stderr.splitlines() if "x1b" in line]
    bad = r"\x1b[31m\u202e"
    assert shown == [f"a {bad}", f"UserWarning: {bad}", f"ValueError: {bad}"]
