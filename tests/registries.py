"""What is added to a registry, and how the code comes upon it: for the test of the architecture's table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from unetr.core.plan.network import NetworkPlan
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.core.plan.targets import Target
from unetr.core.plan.training import AugmentPlan
from unetr.core.space.volume import Volume
from unetr.errors import UnetrError


class FoundError(UnetrError):
    """What was added to a registry has been reached."""


def found(*_: Any, **__: Any) -> Any:
    """Stands in a registry."""
    raise FoundError("found")


def thing(name: str) -> Any:
    """What a dotted name below `unetr` stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f"unetr.{module}"), attribute)


def plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "dataset": "test",
        "channels": (ChannelPlan(name="CT", normalisation="none"),),
        "labels": {"background": 0, "organ": 1},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (16, 16, 16),
        "network": NetworkPlan(patch=8, width=24, depth=3, heads=3, mlp_width=40, taps=(1, 2, 3), feature_size=4),
    }
    return Plan(**(fields | changes))


def _a_format() -> None:
    from unetr.io import read_volume

    read_volume(Path("scan.dummy"))


def _a_layout() -> None:
    from unetr.prepare.datasets.cases import open_dataset

    open_dataset(Path(__file__).parent)


def _a_preset() -> None:
    from unetr.prepare.planning.presets import network_named

    assert network_named("dummy") is not None
    raise FoundError("found")


def _a_recipe() -> None:
    from unetr.prepare.paper.recipes import recipe_named

    assert recipe_named("dummy") is found
    raise FoundError("found")


def _a_peer() -> None:
    from unetr.model.network.peers import build_peer

    build_peer("dummy", 1, 2, (16, 16, 16))


def _a_decoder() -> None:
    from unetr.model.network.build import empty_network

    made = plan()
    empty_network(made.network, 1, 2, made.window)


def _shapes_of_a_decoder() -> None:
    from unetr.model.network.shapes import weight_shapes

    weight_shapes(plan())


def _a_decoder_without_torch() -> None:
    from unetr.model.graph.forward import build_graph
    from unetr.model.graph.onnx.check import stand_ins
    from unetr.model.graph.onnx.graph import OnnxOperations
    from unetr.model.network.shapes import weight_shapes

    build_graph(OnnxOperations(), plan(), stand_ins(weight_shapes(plan())), "test")


def _a_normalisation() -> None:
    from unetr.prepare.preprocess import preprocess_image

    preprocess_image(Volume(np.ones((1, 4, 4, 4), np.float32), np.eye(4)), plan())


def _a_blending() -> None:
    from unetr.infer.sweep.slabs import Route, sweep

    image = np.ones((1, 16, 16, 16), np.float32)
    next(sweep(image, found, plan(), Route.whole((16, 16, 16)), (0, 16)))


def _a_loss() -> None:
    from unetr.train.optimise.step import segmentation

    images, classes = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.long)
    segmentation(torch.nn.Identity(), images, classes, plan(training={"loss": {"name": "dummy"}}))


def _an_augmentation() -> None:
    from unetr.train.samples.augment import augment_intensities

    augment_intensities(np.ones((1, 4, 4, 4), np.float32), AugmentPlan(noise_probability=1), np.random.default_rng(0))


def _an_engine() -> None:
    from unetr.infer.engines import Choice, make_engine

    make_engine(SimpleNamespace(source="test"), Choice("dummy", "cpu", "fp32", "a test"))  # type: ignore[arg-type]


def _a_result_format() -> None:
    from unetr.io.results import write_result

    write_result(Path("scan.dummy"), Volume(np.ones((1, 4, 4, 4), np.uint8), np.eye(4)), None, "test")


def _a_job() -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "request.json").write_text('{"job": "dummy", "request": {"name": "a", "values": [1]}}')
        thing("jobs.apart.__main__.run_asked")(Path(folder), SimpleNamespace())


def _a_form() -> Any:
    from unetr.queue.tasks.dicom_forms import DICOM_FORMS, known_form

    return DICOM_FORMS[known_form("dummy")].write()  # type: ignore[call-arg]


def _a_task() -> None:
    thing("queue.tasks.registry.run_task")("dummy", {"name": "a", "values": [1]}, SimpleNamespace())


def _an_advice() -> None:
    from unetr.app.hints import hinted

    assert "dummy advice" in hinted("message", "dummy")
    raise FoundError("found")


# Registry -> the key that is given a stand-in, the stand-in, and what then has to come upon it.
REACHED: dict[str, tuple[str, Any, Callable[[], None]]] = {
    "io.formats.FORMATS": (".dummy", SimpleNamespace(read=found), _a_format),
    "prepare.datasets.cases.LAYOUTS": ("dummy", SimpleNamespace(recognises=found, read=found, looks_for=""), _a_layout),
    "prepare.preprocess.NORMALISATIONS": ("none", found, _a_normalisation),
    "infer.sweep.blending.BLENDINGS": ("gaussian", found, _a_blending),
    "prepare.planning.presets.PRESETS": ("dummy", SimpleNamespace(network=found), _a_preset),
    "prepare.paper.recipes.RECIPES": ("dummy", found, _a_recipe),
    "model.network.peers.PEERS": ("dummy", found, _a_peer),
    "model.network.decoders.DECODERS": ("unetr", found, _a_decoder),
    "model.network.shapes.DECODER_SHAPES": ("unetr", found, _shapes_of_a_decoder),
    "model.graph.decoders.DECODER_GRAPHS": ("unetr", found, _a_decoder_without_torch),
    "train.losses.LOSSES": ("dummy", found, _a_loss),
    "train.samples.augment.INTENSITY_AUGMENTATIONS": ("noise_probability", found, _an_augmentation),
    "infer.engines.ENGINES": ("dummy", found, _an_engine),
    "io.results.RESULT_FORMATS": ("dummy", SimpleNamespace(ending=".dummy", write=found), _a_result_format),
    "jobs.apart.registry.JOBS": ("dummy", SimpleNamespace(name="dummy", request=Target, run=found, asks=False), _a_job),
    "queue.tasks.dicom_forms.DICOM_FORMS": ("dummy", SimpleNamespace(ending=".dummy", write=found), _a_form),
    "queue.tasks.registry.TASKS": ("dummy", SimpleNamespace(request=Target, run=found), _a_task),
    "app.hints.HINTS": ("dummy", "dummy advice", _an_advice),
}
