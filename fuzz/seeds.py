"""Small sound files to start from, made by code: from these the fuzzer reaches further than from nothing."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SHAPE = (4, 3, 3)


def volume() -> Any:
    from unetr.core.space.volume import Volume

    numbers = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(1, *SHAPE)
    return Volume(numbers, np.diag([1.0, 1.5, 2.0, 1.0]), label_names={1: "one", 2: "two"})


def scan(suffix: str) -> bytes:
    """A scan as this program writes it; its voxels are not compressed where the format allows that."""
    from unetr.io import write_volume

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"scan{suffix}")
        write_volume(path, volume())
        return path.read_bytes()


def raw_nrrd() -> bytes:
    head = (
        "NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 2 4 3 3\n"
        "space directions: none (1,0,0) (0,1,0) (0,0,2)\nkinds: vector domain domain domain\nendian: little\n"
        'encoding: raw\nspace origin: (1,2,3)\nunetr_label_names:={"1": "a"}\n\n'
    )
    return head.encode() + bytes(range(144))


def raw_mha() -> bytes:
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 2\nDimSize = 4 3 3\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    return head.encode() + bytes(72)


def dicom_maker() -> ModuleType:
    """tests/io/dicom/dicom_maker.py."""
    path = Path(__file__).resolve().parents[1] / "tests/io/dicom/dicom_maker.py"
    spec = importlib.util.spec_from_file_location("dicom_maker", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dicom_slices() -> list[bytes]:
    """The three instances of a series."""
    with tempfile.TemporaryDirectory() as folder:
        dicom_maker().write_series(Path(folder, "s"), np.arange(36, dtype=np.int16).reshape(SHAPE))
        return [path.read_bytes() for path in sorted(Path(folder, "s").iterdir())]


def enhanced_dicom() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "enhanced.dcm")
        dicom_maker().write_enhanced(path, np.arange(36, dtype=np.int16).reshape(SHAPE))
        return path.read_bytes()


def compressed_dicom() -> bytes:
    """An enhanced instance with frames in run-length encoding, which is decoded in Python."""
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(enhanced_dicom()))
    dataset.compress(pydicom.uid.RLELossless)
    packed = io.BytesIO()
    dataset.save_as(packed)
    return packed.getvalue()


def plan(window: int = 16) -> Any:
    from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan

    return Plan(
        dataset="balls",
        channels=(ChannelPlan(name="MRI"),),
        labels={"background": 0, "ball": 1},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(window,) * 3,
        network=NetworkPlan(
            preset="test", patch=8, width=16, depth=3, heads=2, mlp_width=32, taps=(1, 2, 3), feature_size=4
        ),
    )


def plan_yaml() -> bytes:
    from unetr.core.plan.file import plan_to_yaml

    return plan_to_yaml(plan()).encode()


def model(window: int = 16) -> Any:
    """A model file's contents, the network's weights drawn anew."""
    from unetr.model.file.model_file import ModelFile
    from unetr.model.network.build import fresh_weights

    made = plan(window)
    weights = fresh_weights(made, seed=1)
    return ModelFile(made, None, {"mean_dice": 0.5}, "CC0", weights)


def sealed() -> bytes:
    """The header and the bytes of a model file, without the length before it."""
    from dataclasses import replace

    from unetr.model.file.model_file import write_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        write_model(path, replace(model(), weights={"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.int8)}))
        return path.read_bytes()[8:]


def exported(kind: str) -> list[bytes]:
    """The files of an exported network: .onnx, or .xml and .bin."""
    from unetr.model.export import EXPORTS

    write, suffix = EXPORTS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"network{suffix}")
        write(model(), path, lambda _: None)
        return [path.read_bytes(), *([path.with_suffix(".bin").read_bytes()] if suffix == ".xml" else [])]


def descriptions() -> list[bytes]:
    """dataset.json of nnU-Net and of the Decathlon."""
    nnunet: dict[str, Any] = {
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": [1, 2], "tumour": 2},
        "regions_class_order": [1, 2], "numTraining": 1, "file_ending": ".nii.gz", "name": "x",
    }  # fmt: skip
    decathlon = {
        "name": "x", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ"}, "numTraining": 1,
        "tensorImageSize": "3D", "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    }  # fmt: skip
    return [json.dumps(each).encode() for each in (nnunet, decathlon)]


def table() -> bytes:
    text = io.StringIO()
    rows = [["image", "label", "fold", "subject", "id"], ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "0", "s", "a"]]
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def results() -> bytes:
    from unetr.evaluation.results import ClassScore, results_to_json, summarise

    nan = float("nan")
    rows = [ClassScore("a", "organ", (1,), 0.5, 0.3, 1.0, 0.5, nan, 3, 1, 2, 0.1, 0.2)]
    return results_to_json(summarise(rows, 2.0, ["b"], ("c",))).encode()


def report() -> bytes:
    from unetr.jobs.predict.report import CaseRecord, FileDigest, Report, write_report

    digest = FileDigest(file="a.nii.gz", bytes=3, sha256="0" * 64)
    cases = (CaseRecord(id="a", state="done", inputs=(digest,), outputs=(digest,), volumes_ml={"organ": 1.5}),)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.json")
        write_report(path, Report(unetr="0", models=(digest,), settings={"tta": False}, cases=cases))
        return path.read_bytes()
