"""Model files and what they are exported to: one way to open them all, verified, without torch.

An exported network is a file of its runtime's own format, ONNX or OpenVINO IR, that any program can load. What unetr
knows of it, plan and all, is in the format's own metadata, sealed as `model.file.seal` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.text.reading import cannot_open
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.model.file.model_file import FORMAT, FORMAT_VERSION, ModelFile, described, read_model
from unetr.model.file.seal import hashed
from unetr.model.graph.onnx.check import onnx_problem
from unetr.model.graph.onnx.metadata import onnx_metadata
from unetr.model.graph.openvino.check import xml_problem

# Before each entry in OpenVINO's XML, so that it is found without a parser that follows references.
_RT_PREFIX = b'<unetr value="'

_ENTRIES = {"format", "format_version", "plan", "fingerprint", "metrics", "licence", "created_by", "sha256"}

Kind = Literal["model", "onnx", "openvino"]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model that is ready for an engine.

    kind: what the file is. model: what is known of it; for an exported network without weights, which are in `network`,
    the bytes of the file, or for OpenVINO of its XML, with those of its weights in `constants`.
    """

    kind: Kind
    model: ModelFile
    network: bytes = b""
    constants: bytes = b""

    @property
    def plan(self) -> Plan:
        """What the network expects and means."""
        return self.model.plan

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Of the training scans."""
        return self.model.fingerprint

    @property
    def source(self) -> str:
        """The file's name, for errors."""
        return self.model.source


@reads_untrusted("a model")
def open_model(path: Path) -> Opened:
    """Opens a model file (.safetensors), or a network that `unetr export` wrote (.onnx, or .xml with its .bin).

    Raises InputError, one line that names the file, for anything else, for files that were changed, and for a model
    that is pretrained only and so segments nothing.
    """
    name = path.name.lower()
    if name.endswith(".onnx"):
        return _open_onnx(path)
    if name.endswith(".xml"):
        return _open_openvino(path)
    if name.endswith(".bin") and path.with_suffix(".xml").is_file():
        raise InputError(f"{path}: holds the weights of {path.with_suffix('.xml').name}; give that file")
    model = read_model(path)
    if model.plan.pretraining is not None:
        raise InputError(f"{path}: is pretrained only and segments nothing yet; start a training from it", hint="start")
    return Opened("model", model)


def _open_onnx(path: Path) -> Opened:
    data = _read(path, "an ONNX file written by unetr export")
    metadata = onnx_metadata(data)
    if metadata is None or "plan" not in metadata:
        raise InputError(f"{path}: is not an ONNX file written by unetr export; expected one with a plan")
    _verify(path, metadata.get("sha256", ""), data)
    model = described(_known(metadata, path), {}, path)
    problem = onnx_problem(data, model.plan, metadata)
    if problem:
        raise InputError(f"{path}: {problem}; expected a file as unetr export writes it; export it again")
    return Opened("onnx", model, data)


def _open_openvino(path: Path) -> Opened:
    data = _read(path, "an OpenVINO network written by unetr export")
    metadata = _openvino_metadata(data)
    if metadata is None or "plan" not in metadata:
        raise InputError(f"{path}: is not an OpenVINO network written by unetr export; expected one with a plan")
    constants = _read(path.with_suffix(".bin"), f"the weights of {path.name}")
    _verify(path, metadata.get("sha256", ""), data, constants)
    problem = xml_problem(data, constants)
    if problem:
        raise InputError(f"{path}: {problem}; expected a network as unetr export writes it; export it again")
    return Opened("openvino", described(_known(metadata, path), {}, path), data, constants)


def _known(metadata: dict[str, str], path: Path) -> dict[str, str]:
    """The metadata, if they are those that `describe` makes: runtimes take some others for instructions."""
    other = sorted(metadata.keys() ^ _ENTRIES)
    if other:
        raise InputError(f"{path}: has other metadata than unetr export writes ({other[0][:60]!r}); export it again")
    if (metadata["format"], metadata["format_version"]) != (FORMAT, FORMAT_VERSION):
        raise InputError(
            f"{path}: is {metadata['format'][:60]} version {metadata['format_version'][:20]}, this program reads "
            f"{FORMAT} version {FORMAT_VERSION}; use the unetr that wrote it"
        )
    return metadata


def _openvino_metadata(data: bytes) -> dict[str, str] | None:
    """The entries that `export` put there, each in hexadecimal: XML has its own ideas about quotes and line ends."""
    start = data.find(_RT_PREFIX)
    end = data.find(b'"', start + len(_RT_PREFIX))
    if start < 0 or end < 0:
        return None
    try:
        text = data[start + len(_RT_PREFIX) : end].decode()
        return dict(_entry(part) for part in text.split(" ") if part)
    except ValueError:
        return None


def _entry(part: str) -> tuple[str, str]:
    name, value = part.split(":")
    return name, value if name == "sha256" else bytes.fromhex(value).decode()


def openvino_entries(metadata: dict[str, str]) -> str:
    """Metadata as the text of one value in OpenVINO's XML; the inverse is how `open_model` reads it."""
    return " ".join(f"{k}:{v if k == 'sha256' else v.encode().hex()}" for k, v in metadata.items())


def _verify(path: Path, stored: str, first: bytes, *others: bytes) -> None:
    if hashed(first, stored, *others).hexdigest() != stored:
        raise InputError(f"{path}: is damaged or was changed: its SHA-256 does not match; export it again")


def _read(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot_open(path, error, expected) from None
