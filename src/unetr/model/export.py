"""Writes a model for other runtimes: a file with network, weights and plan, sealed (`model.file.seal`)."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from unetr.core.files.atomic import atomic_path, machine_error
from unetr.errors import MachineError
from unetr.model.file.model_file import ModelFile, describe, write_model
from unetr.model.file.seal import NO_DIGEST, seal
from unetr.model.graph.forward import build_graph
from unetr.model.graph.onnx.file import onnx_parts
from unetr.model.graph.onnx.graph import OnnxOperations
from unetr.model.open_model import openvino_entries

Verify = Callable[[Path], None]
"""Gets the written file before it takes its name, and raises if it is not to."""


def export_onnx(model: ModelFile, path: Path, verify: Verify) -> None:
    """One .onnx file. Raises InputError for weights that do not fit the plan, MachineError."""
    operations = OnnxOperations()
    logits = build_graph(operations, model.plan, _weights(model), model.source)
    graph = operations.graph(logits, (model.plan.outputs, *model.plan.window))
    data = bytearray(b"".join(onnx_parts(graph, {**describe(model), "sha256": NO_DIGEST}, {})))
    seal(data)
    with atomic_path(path, verify, private=False) as temporary:
        temporary.write_bytes(data)


def export_openvino(model: ModelFile, path: Path, verify: Verify) -> None:
    """OpenVINO IR: an .xml file, and the weights beside it in a .bin file of the same name. Raises as `export_onnx`."""
    try:
        from unetr.model.graph.openvino.graph import OpenVINOOperations, openvino_network
        from unetr.model.graph.openvino.runtime import ov
    except ImportError:
        raise MachineError("exporting to OpenVINO needs it installed; run: pip install openvino") from None
    operations = OpenVINOOperations()
    network = openvino_network(build_graph(operations, model.plan, _weights(model), model.source), operations)
    network.set_rt_info(openvino_entries({**describe(model), "sha256": NO_DIGEST}), "unetr")
    folder = path.with_name(f".unetr-{secrets.token_hex(6)}")
    try:
        folder.mkdir(parents=True)
        xml, constants = folder / "network.xml", folder / "network.bin"
        ov.serialize(network, xml, constants)
        data = bytearray(xml.read_bytes())
        seal(data, constants.read_bytes())
        xml.write_bytes(data)
        verify(xml)
        # The weights take their name first; until the .xml has its own too, the pair does not match and is refused.
        with atomic_path(path.with_suffix(".bin"), private=False) as temporary:
            constants.replace(temporary)
        with atomic_path(path, private=False) as temporary:
            xml.replace(temporary)
    except OSError as error:
        raise machine_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def export_torch(model: ModelFile, path: Path, verify: Verify) -> None:
    """A model file: its weights have torch's names, in safetensors, which torch reads without running code.

    TorchScript and torch.export archives hold pickles, which this program neither writes nor reads.
    """
    with atomic_path(path, verify, private=False) as temporary:
        write_model(temporary, model)


# --to -> the writer and the file's suffix
EXPORTS: dict[str, tuple[Callable[[ModelFile, Path, Verify], None], str]] = {
    "onnx": (export_onnx, ".onnx"),
    "openvino": (export_openvino, ".xml"),
    "torch": (export_torch, ".safetensors"),
}


def _weights(model: ModelFile) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in model.weights.items()}
