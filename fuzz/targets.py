"""What is fuzzed: every reader of files that anyone may have written, each behind an envelope.

An envelope puts right what would stop nearly every changed input at the door: checksums, digests, compression. What a
target raises is a find, unless it is an error of ours that names what is wrong; an error that nobody foresaw
(`UnforeseenError`) is a find too.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import seeds

NO_DIGEST = b"0" * 64


@dataclass(frozen=True)
class Target:
    """seeds: inputs to start from. feed: gives an input to the reader, in an empty folder."""

    seeds: Callable[[], Iterable[bytes]]
    feed: Callable[[bytes, Path], object]


def scan(suffix: str, pack: Callable[[bytes], bytes] = bytes) -> Callable[[bytes, Path], object]:
    def feed(data: bytes, folder: Path) -> object:
        from unetr.io import read_label, read_volume

        path = folder / f"scan{suffix}"
        path.write_bytes(pack(data))
        if data[-1:] == b"l":
            return read_label(path)
        return read_volume(path, assume_affine=True, accept_shear=len(data) % 2 == 0)

    return feed


def pack_nrrd(data: bytes) -> bytes:
    """The voxels behind a header that says gzip are compressed."""
    head, end, voxels = data.partition(b"\n\n")
    return head + end + gzip.compress(voxels, 1) if b"gz" in head else data


def pack_mha(data: bytes) -> bytes:
    head, end, voxels = data.partition(b"LOCAL\n")
    return head + end + zlib.compress(voxels, 1) if b"CompressedData = True" in head else data


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def dicom(data: bytes, folder: Path) -> object:
    from unetr.io.dicom.volume import list_series, read_dicom

    path = written(folder / "a.dcm", data)
    list_series(path)
    return read_dicom(path)


def dicom_folder(data: bytes, folder: Path) -> object:
    """The changed slice between two sound ones."""
    from unetr.io.dicom.volume import list_series, read_dicom

    for name, content in zip(("0.dcm", "1.dcm", "2.dcm"), (SLICES[0], data, SLICES[2]), strict=True):
        (folder / name).write_bytes(content)
    list_series(folder)
    return read_dicom(folder)


def dicom_zip(data: bytes, folder: Path) -> object:
    from unetr.io.dicom.volume import is_dicom, read_dicom

    path = written(folder / "a.zip", data)
    is_dicom(path)
    return read_dicom(path)


def entry(data: bytes, folder: Path) -> object:
    with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zip(("0.dcm", "1.dcm", "2.dcm"), (SLICES[0], data, SLICES[2]), strict=True):
            archive.writestr(name, content)
    return dicom_zip((folder / "b.zip").read_bytes(), folder)


def with_digest(data: bytes, *others: bytes) -> bytes:
    """The digest in its place. Seeds have one already, which is taken back first."""
    digest = hashlib.sha256(data)
    for other in others:
        digest.update(other)
    return data.replace(NO_DIGEST, digest.hexdigest().encode(), 1)


def without_digest(data: bytes) -> bytes:
    found = re.search(rb"[0-9a-f]{64}", data)
    return data if found is None else data[: found.start()] + NO_DIGEST + data[found.end() :]


def sealed(data: bytes, folder: Path) -> object:
    """The input is the header and the arrays: the header ends where its last bracket before the arrays is."""
    from unetr.model.open_model import open_model

    header, bracket, arrays = data.partition(b"}}")
    header += bracket
    whole = len(header).to_bytes(8, "little") + header + arrays
    path = folder / "model.safetensors"
    path.write_bytes(with_digest(whole))
    return open_model(path)


def sealed_seed() -> bytes:
    data = without_digest(seeds.sealed())
    end = data.rindex(b"}}") + 2
    return data[:end] + data[end:].lstrip(b" ")


def onnx(data: bytes, folder: Path) -> object:
    from unetr.model.open_model import open_model

    path = folder / "network.onnx"
    path.write_bytes(with_digest(data))
    return open_model(path)


def openvino(data: bytes, folder: Path) -> object:
    from unetr.model.open_model import open_model

    (folder / "network.bin").write_bytes(CONSTANTS)
    path = folder / "network.xml"
    path.write_bytes(with_digest(data, CONSTANTS))
    return open_model(path)


def plan(data: bytes, folder: Path) -> object:
    from unetr.core.plan.file import read_plan

    path = folder / "plan.yaml"
    path.write_bytes(data)
    return read_plan(path)


def dataset(data: bytes, folder: Path) -> object:
    from unetr.prepare.datasets.cases import open_dataset

    for name in ("imagesTr/a.nii.gz", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(SCAN)
    (folder / "dataset.json").write_bytes(data)
    return open_dataset(folder)


def table(data: bytes, folder: Path) -> object:
    from unetr.prepare.datasets.cases import open_dataset, prediction_inputs

    for name in ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(SCAN)
    path = folder / "cases.csv"
    path.write_bytes(data)
    prediction_inputs(path, 1)
    return open_dataset(path)


def records(data: bytes, folder: Path) -> object:
    """results.json or report.json, as the first byte decides."""
    from unetr.evaluation.results import read_results
    from unetr.jobs.predict.report import read_report

    path = folder / "record.json"
    path.write_bytes(data[1:])
    return read_results(path) if data[:1] == b"r" else read_report(path)


TARGETS: dict[str, Target] = {
    "nifti": Target(lambda: [seeds.scan(".nii"), seeds.scan(".nii") + b"l"], scan(".nii")),
    "nifti_gz": Target(lambda: [seeds.scan(".nii")], scan(".nii.gz", lambda data: gzip.compress(data, 1))),
    "gzip": Target(lambda: [seeds.scan(".nii.gz")], scan(".nii.gz")),
    "nrrd": Target(lambda: [seeds.raw_nrrd(), seeds.raw_nrrd().replace(b"raw", b"gzip")], scan(".nrrd", pack_nrrd)),
    "mha": Target(
        lambda: [seeds.raw_mha(), seeds.raw_mha().replace(b"Data = False", b"Data = True")], scan(".mha", pack_mha)
    ),
    "dicom_file": Target(lambda: [seeds.enhanced_dicom(), seeds.compressed_dicom()], dicom),
    "dicom_folder": Target(lambda: [SLICES[1]], dicom_folder),
    "dicom_entry": Target(lambda: [SLICES[1]], entry),
    "zip": Target(lambda: [zip_seed()], dicom_zip),
    "sealed": Target(lambda: [sealed_seed()], sealed),
    "onnx": Target(lambda: [without_digest(seeds.exported("onnx")[0])], onnx),
    "openvino": Target(lambda: [without_digest(XML)], openvino),
    "plan": Target(lambda: [seeds.plan_yaml()], plan),
    "dataset": Target(seeds.descriptions, dataset),
    "table": Target(lambda: [seeds.table()], table),
    "records": Target(lambda: [b"r" + seeds.results(), b"p" + seeds.report()], records),
}


def zip_seed() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, content in enumerate(SLICES):
            archive.writestr(f"{index}.dcm", content)
    return made.getvalue()


SLICES: list[bytes] = []
SCAN = XML = CONSTANTS = b""


def prepare(name: str) -> None:
    """Makes what the target's feeding needs beside its input."""
    global SCAN, XML, CONSTANTS
    if name in ("dicom_folder", "dicom_entry", "zip"):
        SLICES.extend(seeds.dicom_slices())
    elif name in ("dataset", "table"):
        SCAN = seeds.scan(".nii.gz")
    elif name == "openvino":
        XML, CONSTANTS = seeds.exported("openvino")


def feed_in(target: Target, data: bytes, folder: Path) -> str:
    """Feeds one input and empties the folder again. Returns "accepted" or "refused"; raises what is a find."""
    from unetr.core.machine.allowance import memory_limit
    from unetr.core.machine.memory import resident_bytes
    from unetr.core.text.untrusted import UnforeseenError
    from unetr.errors import UnetrError

    folder.mkdir(exist_ok=True)
    try:
        with memory_limit(resident_bytes() + 200 * 10**6):
            target.feed(data, folder)
    except UnforeseenError as error:
        raise error.__cause__ or error from error
    except UnetrError as error:
        assert "\n" not in str(error) and len(str(error)) < 5000, "a message is one line"
        return "refused"
    finally:
        shutil.rmtree(folder)
    return "accepted"
