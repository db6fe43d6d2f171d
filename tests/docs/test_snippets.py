"""Every block of code in the README and in the pages for users runs, on small data under the names that they use.

A block that cannot run here has a comment with the reason before it: `<!-- not run: installs packages -->`. The
comments are counted, so that no block is left out unseen. `<!-- file: node.yaml -->` before a block says that it is
that file. What a page starts, such as a server, runs until the page ends (`programs.py`).
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from tests.datasets import BALL_SHAPE, KINDS, save_scan, write_dataset
from tests.docs.programs import Programs
from tests.io.dicom.dicom_maker import write_series
from tools.plan_schema import plan_schema

from unetr.prepare.planning.template import template_plan

TREE = Path(__file__).parents[2]
# Pages for contributors, and the paper's recipes, which need the paper's data.
LEFT_OUT = {"architecture.md", "paper.md", "reference/commands.md", "reference/plan.md", "reference/python.md"}
PAGES = [
    Path("README.md"),
    *sorted(
        page.relative_to(TREE)
        for page in (TREE / "docs").rglob("*.md")
        if "lab" not in page.parts and page.relative_to(TREE / "docs").as_posix() not in LEFT_OUT
    ),
]
# What is not run, in all pages but the README, which says of itself only that packages are installed.
NOT_RUN = {
    "installs packages": 8,
    "builds images": 3,
    "needs a certificate": 1,
    "starts four processes on four GPUs": 1,
    "a batch script for a cluster": 1,
    "needs weights that MONAI trained": 1,
}
# The only changes to commands: shorter trainings of the smallest network.
SHORTER = [
    (r"^(unetr (?:train|pretrain) (?!.*--plan ).*?)(?: --(?:minutes|steps) \d+)?$", r"\1 --steps 2 --preset tiny"),
    (r"^(unetr train .*--plan .*?)(?: --(?:minutes|steps) \d+)?$", r"\1 --steps 2"),
    (r"^(unetr plan .*--minutes \d+)$", r"\1 --preset tiny"),
    (r"^(unetr compare .*)--minutes \d+", r"\1--minutes 0.02"),
    (r"^unetr demo$", r"unetr demo --no-train"),
]
# And of calls from Python.
SHORTER_CALLS = [(r"\bminutes=\d+", 'steps=2, preset="tiny"'), (r'\bfold="every"', 'fold="every", folds=2')]
# Other commands that a page may show.
PLAIN = ("cd ", "sha256sum ", "mkdir ", "chmod ", "echo ", "python3 -c ")

NODE = """
models: [hippocampus]
listen: {port: 0}
rules:
  - {name: all, model: hippocampus, when: {modality: MR}}
"""


@dataclass(frozen=True)
class Block:
    """A fenced block. why: the reason that it is not run for, empty where it is. file: the name of what it is."""

    language: str
    text: str
    why: str
    file: str = ""


def blocks(page: Path) -> list[Block]:
    text = (TREE / page).read_text(encoding="utf-8")
    said = r"(?:<!-- not run: (.+?) -->\n|<!-- file: (.+?) -->\n)?"
    fences = re.findall(said + r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(language, body, why, file) for why, file, language, body in fences]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """What pages call by name, each small."""
    folder = tmp_path_factory.mktemp("inputs")
    write_dataset("decathlon", folder / "Task04_Hippocampus", 5, 1, "balls")
    for name in ("mydata", "DATASET"):
        write_dataset("folders", folder / name, 5, 1, "balls")
    for number in range(2):
        sample = KINDS["balls"].make(10 + number, 1)
        save_scan(folder / f"scans/case_{number}.nii.gz", sample.channels[0], sample.affine)
        for labels in ("labels", "truth"):
            save_scan(folder / f"{labels}/case_{number}.nii.gz", sample.label, sample.affine)
    shutil.copy(folder / "scans/case_0.nii.gz", folder / "scan.nii.gz")
    voxels = np.random.default_rng(0).integers(0, 900, BALL_SHAPE).astype(np.int16)
    for name in ("study", "studies/one", "studies/two"):
        write_series(folder / name, voxels)
    shutil.copy(tiny_model, folder / "model.safetensors")
    (folder / "node.yaml").write_text(NODE)
    return folder


@pytest.fixture
def here(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(inputs, tmp_path / "here"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    return folder


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_runs(page: Path, here: Path, unetr: Callable[..., Any]) -> None:
    with Programs(here) as programs:
        for block in blocks(page):
            if not block.why:
                run_block(block, page, unetr, programs)


def run_block(block: Block, page: Path, unetr: Callable[..., Any], programs: Programs) -> None:
    if block.file:
        Path(block.file).write_text(programs.here(block.text))
    elif block.language == "sh":
        for line in commands(block.text):
            if programs.takes(line):
                programs.run(line)
            else:
                run_command(line, unetr)
    elif block.language == "python":
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(programs.here(calls(block.text)), str(page), "exec"), {"__name__": "__main__"})
    elif block.language == "yaml":
        fragment = yaml.safe_load(block.text) or {}
        jsonschema.Draft7Validator(plan_schema()).validate(yaml.safe_load(template_plan()) | fragment)
    elif block.language == "json":
        json.loads(block.text)
    else:
        assert block.language == "text", f"{page}: a block of {block.language or 'no language'}"


def commands(text: str) -> list[str]:
    """The commands of a block, one a line, without comments, shortened."""
    lines = [" ".join(line.split()) for line in re.sub(r"\\\n", " ", text).splitlines()]
    found = [re.sub(r" +# .*$", "", line) for line in lines if line and not line.startswith("#")]
    for pattern, shorter in SHORTER:
        found = [re.sub(pattern, shorter, line) for line in found]
    return found


def calls(text: str) -> str:
    """The Python of a block, shortened."""
    for pattern, shorter in SHORTER_CALLS:
        text = re.sub(pattern, shorter, text)
    return text


def run_command(line: str, unetr: Callable[..., Any]) -> None:
    if line.startswith("unetr ") and " < " in line:
        command, _, source = line.partition(" < ")
        with Path(source).open("rb") as given:
            subprocess.run([sys.executable, "-P", "-m", *shlex.split(command)], stdin=given, check=True)
    elif line.startswith("unetr "):
        command, _, target = line.partition(" > ")
        outcome = unetr(*shlex.split(command)[1:])
        assert outcome.code == 0, f"{line}: {outcome.err}"
        if target:
            Path(target).write_text(outcome.out)
    else:
        assert line.startswith(PLAIN), f"{line}: is not run; say why in a comment before the block"
        subprocess.run(["bash", "-euc", line], check=True, stdout=subprocess.DEVNULL)


def test_what_is_not_run_is_known() -> None:
    found = Counter(block.why for page in PAGES[1:] for block in blocks(page) if block.why)
    assert found == NOT_RUN
    assert {block.why for block in blocks(PAGES[0]) if block.why} <= {"installs packages"}


def test_the_readme_and_the_tutorial_show_commands_and_python() -> None:
    for page in (Path("README.md"), Path("docs/tutorial.md")):
        assert sum(block.language == "sh" and not block.why for block in blocks(page)) >= 1, page
    assert any(block.language == "python" for block in blocks(Path("README.md")))
