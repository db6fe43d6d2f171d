"""What the reference says of files and codes is what the program writes."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from tools.reference import commands_page, python_page

import unetr
from unetr import errors
from unetr.app.cli import app
from unetr.evaluation.results import ClassScore, ClassSummary, Results
from unetr.evaluation.summary import Statistic
from unetr.jobs.predict.report import CaseRecord, Report
from unetr.model.file.model_file import compact, read_model, write_model
from unetr.train.run.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def first_column(page: str, heading: str, after: str = "") -> list[str]:
    """The names in the first table below a heading, or below a line of its section."""
    text = (REFERENCE / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    text = text.partition("\n## ")[0].partition(after)[2] if after else text
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None, (page, heading)
    return [re.split(r" *\| *", row)[1].strip("`") for row in table[0].splitlines()[2:]]


def verify(model: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the page's own program says of a file."""
    text = (REFERENCE / "model-file.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(model.parent)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(program, "model-file.md", "exec"), {})
    return said.getvalue().strip()


@pytest.fixture(params=["full", "compact"])
def model(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "model.safetensors"
    read = read_model(tiny_model)
    write_model(path, compact(read) if request.param == "compact" else read)
    yield path


def test_the_program_verifies_a_model_file(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verify(model, monkeypatch) == read_model(model).sha256


@pytest.mark.parametrize("place", [20, 400, -1])
def test_the_program_sees_a_changed_bit(model: Path, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(model.read_bytes())
    data[place] ^= 1
    model.write_bytes(data)
    with pytest.raises((SystemExit, ValueError, KeyError)):
        verify(model, monkeypatch)


def test_the_layout_of_a_model_file(model: Path) -> None:
    data = model.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0 and next(iter(header)) == "__metadata__"
    assert sorted(header.pop("__metadata__")) == sorted(first_column("model-file.md", "Metadata"))
    known = dict(zip(first_column("model-file.md", "Data types"), (4, 2, 1, 8), strict=True))
    ends = [0]
    for entry in header.values():
        start, stop = entry["data_offsets"]
        assert start == ends[-1] and stop - start == known[entry["dtype"]] * int(np.prod(entry["shape"]))
        ends.append(stop)
    assert 8 + length + ends[-1] == len(data)
    sizes = [(-known[entry["dtype"]], name) for name, entry in header.items()]
    assert sizes == sorted(sizes)


def test_compact_weights_are_expanded_as_the_page_says(tiny_model: Path, tmp_path: Path) -> None:
    full = np.random.default_rng(0).normal(size=(80, 60)).astype(np.float32)
    path = tmp_path / "model.safetensors"
    read = read_model(tiny_model)
    name = next(n for n, array in read.weights.items() if np.ndim(array) == 2 and not n.endswith("position"))
    write_model(path, compact(type(read)(read.plan, None, {}, "", {name: full})))
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def array(key: str, kind: str) -> np.ndarray:
        start, stop = (8 + length + offset for offset in header[key]["data_offsets"])
        return np.frombuffer(data[start:stop], kind).reshape(header[key]["shape"])

    steps, factors = array(name, "i1"), array(f"{name}.row_factor", "<f4")
    assert np.allclose(factors, np.abs(full).max(axis=1) / 127)
    assert np.array_equal(steps * factors[:, None], read_model(path).weights[name])


FIELDS = {
    ("results.json", ""): [
        "format",
        "format_version",
        *(field.name for field in fields(Results)),
        "mean_dice",
    ],
    ("results.json", "Each entry of `scores`:"): [field.name for field in fields(ClassScore)],
    ("results.json", "Each entry of `classes`:"): [field.name for field in fields(ClassSummary)],
    ("results.json", "A statistic:"): [field.name for field in fields(Statistic)],
    ("report.json", ""): ["counts", *Report.model_fields],
    ("report.json", "Each entry of `cases`:"): list(CaseRecord.model_fields),
    ("settings.json", ""): list(Settings.model_fields),
}


@pytest.mark.parametrize("heading, after", FIELDS, ids=lambda given: given.strip(":") or "itself")
def test_every_field_of_a_file_is_explained(heading: str, after: str) -> None:
    assert sorted(first_column("files.md", heading, after)) == sorted(FIELDS[heading, after])


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.UnetrError)]
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    codes = set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE))
    assert codes == {"0", *(str(kind.exit_code) for kind in kinds)}
    assert all(f"`{kind.__name__}`" in text or f".{kind.__name__}`" in text for kind in kinds)


def test_every_command_and_option_is_on_the_page() -> None:
    page = commands_page()
    names = [command.name for command in app.registered_commands]
    assert names and [f"## unetr {name}" for name in names] == re.findall(r"^## .*$", page, re.MULTILINE)
    assert "| `--memory-limit <str>` |" in page and "unetr predict model.safetensors scan.nii.gz" in page


def test_every_public_name_is_on_the_page_of_the_python_reference() -> None:
    shown = set(re.findall(r"^      heading: unetr\.(\w+)$", python_page(), re.MULTILINE))
    assert shown == set(unetr.__all__) - {"__version__"} | {"errors"}
