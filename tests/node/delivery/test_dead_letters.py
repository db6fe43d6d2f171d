"""unetr node --dead-letters and --retry: what people see and do about what could not be delivered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.io.dicom.dicom_maker import PATIENT_NAME
from tests.node.delivery.made import results_in, written_job

from unetr.node.delivery.letters import Letters, LetterState

NODE = """
models: [hippocampus]
rules: [{name: heads, model: hippocampus, when: {modality: MR}, destinations: [pacs]}]
deliver: [{name: pacs, dicomweb: {url: "http://127.0.0.1:9/dicom-web"}}]
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "node.yaml").write_text(NODE)
    return tmp_path / "node.yaml"


@pytest.fixture
def letters(node: Path, tmp_path: Path) -> Letters:
    """Two that are dead and one that waits."""
    results = results_in(tmp_path / "unetr-node")
    written_job(results, tmp_path / "series", {"pacs": ("dicom-seg", "rtstruct"), "archive": ("dicom-seg",)})
    made = Letters(results.store)
    made.collect()
    for letter in made.open("pacs"):
        made.died(letter, "the destination has no room for it (status A700)")
    return made


def test_are_listed_with_why_and_without_names(unetr: Callable[..., Any], node: Path, letters: Letters) -> None:
    done = unetr("node", node, "--dead-letters")
    assert done.code == 0
    assert done.out.count("A700") == 2
    assert "archive" not in done.out
    assert PATIENT_NAME.split("^")[0] not in done.out
    for letter in letters.dead():
        assert letter.job in done.out


@pytest.mark.parametrize(("which", "left"), [("all", 0), ("1", 1)])
def test_are_tried_again(unetr: Callable[..., Any], node: Path, letters: Letters, which: str, left: int) -> None:
    done = unetr("node", node, "--retry", which)
    assert (done.code, f"{2 - left} of 2 dead letters" in done.out) == (0, True)
    assert letters.counts()[LetterState.DEAD] == left
    assert letters.due("pacs", longest_s=3600) is not None


@pytest.mark.parametrize("which", ["99", "some", "-1", "3"])
def test_what_is_no_dead_letter_is_refused(unetr: Callable[..., Any], node: Path, letters: Letters, which: str) -> None:
    done = unetr("node", node, f"--retry={which}")
    assert done.code == 2
    assert "--retry" in done.err
    assert letters.counts()[LetterState.DEAD] == 2


def test_of_no_node_are_refused(unetr: Callable[..., Any], node: Path, tmp_path: Path) -> None:
    done = unetr("node", node, "--dead-letters", "--folder", tmp_path / "nothing")
    assert (done.code, "expected the folder of a node" in done.err) == (2, True)
    assert not (tmp_path / "nothing").exists()


def test_none_is_a_sentence(unetr: Callable[..., Any], node: Path, tmp_path: Path) -> None:
    results_in(tmp_path / "unetr-node")
    assert "no dead letters" in unetr("node", node, "--dead-letters").out
