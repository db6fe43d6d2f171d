"""The workflow calls the gate, on every system and Python that the package is for, by actions of a fixed version."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

TREE = Path(__file__).resolve().parents[1]


def test_the_gate_runs_everywhere() -> None:
    workflow = yaml.safe_load((TREE / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["gate"]
    matrix = job["strategy"]["matrix"]
    assert matrix == {
        "os": ["ubuntu-latest", "macos-latest", "windows-latest"],
        "python": ["3.11", "3.12", "3.13", "3.14"],
    }
    assert job["env"]["UV_PYTHON"] == "${{ matrix.python }}" and job["defaults"]["run"]["shell"] == "bash"
    *actions, last = job["steps"]
    assert last == {"run": ".ci/run"}
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in actions)


def test_scripts_of_the_gate_keep_their_line_ends() -> None:
    """A shell takes none of Windows' line ends, which Git would make of a checkout there."""
    assert "* text=auto eol=lf" in (TREE / ".gitattributes").read_text(encoding="utf-8")
