"""Whether an OpenVINO network (.xml with its .bin) holds only what `unetr export` writes, before OpenVINO reads it.

Its XML can describe operations that run code of extensions, networks within networks and states. Here is what ours
have: a list of plain operations, constants within the .bin, and the entry with the plan.
"""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree  # what makes XML dangerous, <! and <?, is refused before it is parsed

from unetr.model.graph.onnx.check import values_problem

_LARGEST = 64 * 10**6
_HEAD = '<?xml version="1.0"?>'
# fmt: off
_OPERATIONS = {
    "Add", "Concat", "Const", "Convolution", "ConvolutionBackpropData", "Gather", "Gelu", "Interpolate", "MVN",
    "MatMul", "Multiply", "PReLU", "Pad", "Parameter", "Reshape", "Result", "Slice", "SoftMax", "Softmax", "Transpose",
}
# fmt: on
_ITEM_BYTES = {"f32": 4, "i64": 8}
# Tag -> the tags that may be in it.
_INSIDE = {
    "net": {"layers", "edges", "rt_info"},
    "layers": {"layer"},
    "layer": {"data", "input", "output"},
    "input": {"port"},
    "output": {"port"},
    "port": {"dim"},
    "edges": {"edge"},
    "rt_info": {"unetr"},
}
_NUMBERS = re.compile(r"[0-9]{1,15}(, ?[0-9]{1,15})*|")


def xml_problem(data: bytes, constants: bytes) -> str:
    """What a network has that `unetr export` does not write; empty where there is nothing. Bytes of .xml and .bin."""
    try:
        text = data.decode()
        body = text.removeprefix(_HEAD)
        if len(text) > _LARGEST or "<!" in body or "<?" in body:
            return "its XML has declarations, comments or is too long"
        root = ElementTree.fromstring(body)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        return f"it is not XML ({error})"
    if root.tag != "net":
        return f"it is not a network but {root.tag[:60]}"
    for element in root.iter():
        foreign = [child.tag for child in element if child.tag not in _INSIDE.get(element.tag, ())]
        if foreign:
            return f"it has {foreign[0][:60]} in {element.tag}"
    weights = {}
    for number, layer in enumerate(root.iter("layer")):
        problem = _layer_problem(layer, len(constants))
        if problem:
            return f"layer {number}: {problem}"
        about = layer.find("data")
        if layer.get("type") == "Const" and about is not None and about.get("element_type") == "f32":
            start = int(about.get("offset", ""))
            weights[layer.get("name", "")] = memoryview(constants)[start : start + int(about.get("size", ""))]
    return values_problem(weights)


def _layer_problem(layer: ElementTree.Element, available: int) -> str:
    kind = layer.get("type", "")
    if set(layer.keys()) - {"output_names"} != {"id", "name", "type", "version"} or not layer.get(
        "version", ""
    ).startswith("opset"):
        return "is not one of OpenVINO's own operations"
    if kind not in _OPERATIONS:
        return f"has the operation {kind[:60]}"
    if kind != "Const":
        return ""
    about = layer.find("data")
    if about is None or sorted(about.keys()) != ["element_type", "offset", "shape", "size"]:
        return "is a constant without its place"
    item = _ITEM_BYTES.get(about.get("element_type", ""))
    numbers = [about.get(key, "") for key in ("shape", "offset", "size")]
    if item is None or not all(_NUMBERS.fullmatch(text) for text in numbers) or not all(numbers[1:]):
        return "is a constant of another type or without its place"
    shape = [int(size) for size in numbers[0].split(",")] if numbers[0] else []
    start, size = int(numbers[1]), int(numbers[2])
    if size != math.prod(shape) * item or start + size > available:
        return f"is a constant of {size} bytes from {start}; its shape makes {math.prod(shape) * item}, all {available}"
    return ""
