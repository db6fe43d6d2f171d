"""compare, ablate and profile: real trainings side by side, blocks bypassed, arithmetic counted by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unetr.evaluation.results import read_results
from unetr.model.file.model_file import read_model
from unetr.model.network.build import build_network
from unetr.model.profile import profile_network
from unetr.model.torch_network import network_from
from unetr.prepare.planning.presets import PRESETS
from unetr.train.bypass import bypassed

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, dataset: Path, unetr: Command) -> Path:
    out: Path = tmp_path_factory.mktemp("compared")
    done = unetr("compare", dataset, "-o", out, *OPTIONS)
    assert done.code == 0, done
    return out


OPTIONS = ["--networks", "tiny,small", "--minutes", "0.05", "--folds", "2", "--of", "3", "--preset", "tiny"]


def test_a_comparison_ranks_and_keeps_everything(compared: Path) -> None:
    document = json.loads((compared / "comparison.json").read_text())
    rows = {row["network"]: row for row in document["networks"]}
    assert set(rows) == {"tiny", "small"}
    dice = [row["mean_dice"] for row in document["networks"]]
    assert dice == sorted(dice, reverse=True)
    assert document["networks"][0]["behind_best"]["mean"] == 0
    for name, row in rows.items():
        scores = [read_results(compared / name / f"fold{fold}" / "validation" / "results.json") for fold in (0, 1)]
        each = [score.dice for result in scores for score in result.scores if score.label == "ball"]
        assert row["classes"]["ball"]["dice"]["mean"] == pytest.approx(np.nanmean(each))
        assert row["foreground"]["dice"]["cases"] == len({s.case for r in scores for s in r.scores})
        assert len(row["curve"]) == 2 and row["curve"][0][-1][1] == pytest.approx(scores[0].mean_dice)
        assert row["peak_mb"] > 100 and row["latency_s"] > 0 and row["steps"] >= 1
        weights = read_model(compared / name / "fold0" / "model.safetensors").weights
        assert row["parameters"] == sum(np.size(weight) for weight in weights.values())
    assert (compared / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert document["conditions"]["folds"] == [0, 1] and document["conditions"]["of"] == 3


def test_all_networks_follow_one_plan(compared: Path) -> None:
    texts = [(compared / name / "plan.yaml").read_text() for name in ("tiny", "small")]
    start, end = "network:", "training:"
    without = [text[: text.index(start)] + text[text.index(end) :] for text in texts]
    assert without[0] == without[1] and texts[0] != texts[1]


def test_a_finished_comparison_is_only_gathered_again(compared: Path, dataset: Path, unetr: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.glob("*/fold*/log.csv")}
    done = unetr("compare", dataset, "-o", compared, *OPTIONS, "--json")
    assert done.code == 0, done
    assert {path: path.stat().st_mtime_ns for path in compared.glob("*/fold*/log.csv")} == before
    assert [row["network"] for row in json.loads(done.out)["networks"]]


@pytest.mark.fault("scores that cannot be written")
def test_a_comparison_that_cannot_be_written_is_printed(
    compared: Path, dataset: Path, unetr: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared, out)
    (out / "comparison.json").unlink()
    (out / "comparison.json" / "in the way").mkdir(parents=True)
    done = unetr("compare", dataset, "-o", out, *OPTIONS)
    assert done.code == 4 and "comparison.json" in done.err and "wrote" not in done.err
    assert "tiny" in done.out and "small" in done.out


def test_a_training_that_fails_is_named_and_the_others_finish(
    compared: Path, dataset: Path, unetr: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared, out, ignore=shutil.ignore_patterns("small"))
    (out / "small" / "fold0").mkdir(parents=True)
    (out / "small" / "fold0" / "letter.txt").write_text("not a run")
    one_fold = ["--folds", "1", "--of", "3", "--minutes", "0.05", "--preset", "tiny"]
    done = unetr("compare", dataset, "-o", out, "--networks", "tiny,small", *one_fold)
    assert done.code == 3 and "small, fold 0" in done.err and "holds no run" in done.err
    document = json.loads((out / "comparison.json").read_text())
    assert [row["network"] for row in document["networks"]] == ["tiny"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--networks", "tiny,deeplab"], ["'deeplab'", "nnunet-plain"]),
        (["--networks", " , "], ["--networks"]),
        (["--networks", "tiny", "--folds", "4", "--of", "3"], ["--folds 4"]),
        (["--networks", "tiny", "--preset", "huge"], ["preset 'huge' is unknown"]),
    ],
)
def test_impossible_comparisons_are_refused(
    options: list[str], words: list[str], dataset: Path, unetr: Command, tmp_path: Path, assert_refused: Any
) -> None:
    assert_refused(unetr("compare", dataset, "-o", tmp_path / "out", *options), 2, *words)
    assert not (tmp_path / "out").exists()


def test_plans_of_two_comparisons_are_not_mixed(
    compared: Path, dataset: Path, unetr: Command, assert_refused: Any
) -> None:
    other = unetr("compare", dataset, "-o", compared, "--networks", "tiny", "--minutes", "0.05", "--preset", "small")
    assert_refused(other, 2, "another comparison's", "'preset': 'small'")


def test_a_plan_that_was_edited_is_another_comparisons(
    compared: Path, dataset: Path, unetr: Command, tmp_path: Path, assert_refused: Any
) -> None:
    shutil.copytree(compared, tmp_path / "out")
    edited = tmp_path / "out" / "tiny" / "plan.yaml"
    edited.write_text(edited.read_text().replace("learning_rate: ", "learning_rate: 1"))
    assert_refused(unetr("compare", dataset, "-o", tmp_path / "out", *OPTIONS), 2, "plan of another comparison")


def test_ablation_scores_each_bypass(run: Path, unetr: Command) -> None:
    done = unetr("ablate", run, "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    assert list(found) == ["nothing", "attention", "MLPs", "transformer"]
    for scores in found.values():
        assert scores["mean_dice"] == pytest.approx(np.mean(list(scores["dice"].values())))
    table = unetr("ablate", run / "model.safetensors")
    assert table.code == 0 and "transformer" in table.out


def test_a_bypass_is_the_same_as_output_weights_of_zero(run: Path) -> None:
    model = read_model(run / "model.safetensors")
    x = torch.randn(1, 1, *model.plan.window, generator=torch.Generator().manual_seed(0))
    silenced = {"attention": ("attention.output.",), "MLPs": ("mlp_output.",)}
    silenced["transformer"] = (*silenced["attention"], *silenced["MLPs"])
    with torch.inference_mode():
        whole = network_from(model)(x)
        assert torch.equal(bypassed(model, "nothing")(x), whole)
        for what, parts in silenced.items():
            weights = {
                name: np.zeros_like(weight) if any(f".{part}" in name for part in parts) else weight
                for name, weight in model.weights.items()
            }
            expected = network_from(replace(model, weights=weights))(x)
            torch.testing.assert_close(bypassed(model, what)(x), expected)
            assert not torch.allclose(expected, whole)


def test_ablation_needs_a_run(run: Path, unetr: Command, tmp_path: Path, assert_refused: Any) -> None:
    shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    assert_refused(unetr("ablate", tmp_path / "alone.safetensors"), 2, "settings.json")


def test_arithmetic_is_what_the_formulas_say() -> None:
    """N tokens of width K: a block takes 2N(4K^2 + 2KM) for its matrices and 4N^2 K for attention."""
    network = PRESETS["tiny"].network
    found = profile_network(network, 1, 3, (24, 16, 32), repetitions=1)
    n, k, m = 3 * 2 * 4, network.width, network.mlp_width
    assert found.transformer_flops == network.depth * (2 * n * (4 * k * k + 2 * k * m) + 4 * n * n * k)
    built = build_network(network, 1, 3, (24, 16, 32))
    assert found.parameters == sum(parameter.numel() for parameter in built.parameters())
    assert found.flops > found.transformer_flops and found.latency_s > 0


def test_the_papers_network_has_the_papers_parameters(unetr: Command) -> None:
    done = unetr("profile", "paper", "--window", "32x32x32", "--json")
    assert done.code == 0, done
    # 92.58 M at 96^3 (table 4 of the paper) with 208 more positions of width 768.
    assert json.loads(done.out)["paper"]["parameters"] / 1e6 == pytest.approx(92.58 - 208 * 768 / 1e6, abs=0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["vgg"], ["'vgg'"]),
        (["paper", "--window", "96"], ["--window 96", "96x96x96"]),
        (["paper", "--window", "0x96x96"], ["--window 0x96x96"]),
        (["paper", "--window", "1024x1024x1024"], ["network paper", "voxels"]),
        (["paper", "--channels", str(2**40)], ["network paper", "channels"]),
        (["nnunet-plain", "--classes", str(2**40)], ["network nnunet-plain", "labels"]),
    ],
)
@pytest.mark.fault("numbers that are too large together")
def test_impossible_profiles_are_refused(
    options: list[str], words: list[str], unetr: Command, assert_refused: Any
) -> None:
    assert_refused(unetr("profile", *options), 2, *words)


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_arithmetic_is_counted_without_the_norms(preset: str) -> None:
    """As on a device without numbers, where the norms take PyTorch's own road, which is not counted."""
    network = PRESETS[preset].network
    found = profile_network(network, 1, 3, (32, 32, 32), repetitions=1)
    model = build_network(network, 1, 3, (32, 32, 32)).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 1, 32, 32, 32, device="meta"))
    assert found.flops == counter.get_total_flops()
