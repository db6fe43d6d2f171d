"""The JSON Schema of the plan, for editors: made from the code, kept in the package.

    uv run python tools/plan_schema.py     # writes src/unetr/core/plan/plan.schema.json anew

A test fails while the file is not what this makes. Draft 7, since that is what YAML editors know best. What the schema
accepts and the program refuses is what joins several fields; what it refuses, the program refuses as well.
"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

from unetr.core.plan import file as plan_file
from unetr.core.plan.network import NetworkPlan
from unetr.core.plan.schema import ChannelPlan, InferencePlan, Plan, PostprocessPlan, PretrainingPlan, Region
from unetr.core.plan.training import AugmentPlan, LossPlan, TrainingPlan
from unetr.core.text.records import Record
from unetr.model.network.decoders import DECODERS
from unetr.prepare.planning.presets import ABLATIONS, PEER_NAMES, PRESETS
from unetr.train.losses import LOSSES

RECORDS: tuple[type[Record], ...] = (
    Plan,
    ChannelPlan,
    Region,
    NetworkPlan,
    TrainingPlan,
    LossPlan,
    AugmentPlan,
    InferencePlan,
    PostprocessPlan,
    PretrainingPlan,
)
# pydantic leaves these names where a validator comes before the bound.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
# What a normalisation needs, as `ChannelPlan` checks it.
_NEEDED = {"ct": ("low", "high", "mean", "std"), "range": ("low", "high")}


def schema_text() -> str:
    """The file's content."""
    return json.dumps(plan_schema(), indent=1, ensure_ascii=False) + "\n"


def plan_schema() -> dict[str, Any]:
    """Every field with its type, bounds, default and description; names of presets, decoders, losses and peers."""
    made = Plan.model_json_schema()
    definitions = {name: _plain(one) for name, one in made.pop("$defs").items()}
    top = _plain(made)
    for record in RECORDS:
        target = top if record is Plan else definitions[record.__name__]
        target["description"] = inspect.cleandoc(record.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        for name, text in descriptions(record).items():
            target["properties"][name] = _described(target["properties"][name], text)
    network = definitions["NetworkPlan"]["properties"]
    presets = [*PRESETS, *ABLATIONS, *PEER_NAMES, "monai"]
    network["preset"] |= {"anyOf": [{"enum": presets}, {"type": "string", "minLength": 1, "maxLength": 255}]}
    for key in ("type", "minLength", "maxLength"):
        network["preset"].pop(key)
    network["decoder"] = {"enum": list(DECODERS), **_without(network["decoder"], "type", "minLength", "maxLength")}
    loss = definitions["LossPlan"]["properties"]
    loss["name"] = {"enum": list(LOSSES), **_without(loss["name"], "type", "minLength", "maxLength")}
    network["peer"] |= {"anyOf": [{"enum": list(PEER_NAMES)}, {"type": "null"}]}
    definitions["ChannelPlan"]["allOf"] = [_needs(kind, names) for kind, names in _NEEDED.items()]
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "unetr plan"}
    return {**head, **top, "$defs": definitions}


def descriptions(record: type[Record]) -> dict[str, str]:
    """Field -> the text below it in the code."""
    [definition] = ast.parse(inspect.getsource(record)).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            texts[field.target.id] = " ".join(str(below.value.value).split())
    return texts


def _plain(node: Any) -> Any:
    """Without titles, with the schema's own names of bounds, and fixed lists as draft 7 has them."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, dict):
        return node
    plain = {_BOUNDS.get(key, key): _plain(value) for key, value in node.items() if not _is_title(key, value)}
    fixed = plain.pop("prefixItems", None)
    if fixed:  # all of a plan's fixed lists have entries of one kind
        assert all(one == fixed[0] for one in fixed), fixed
        plain["items"] = fixed[0]
    return plain


def _is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)


def _described(field: dict[str, Any], text: str) -> dict[str, Any]:
    """Draft 7 ignores what stands beside a reference."""
    if "$ref" in field:
        return {"description": text, "allOf": [{"$ref": field["$ref"]}], **_without(field, "$ref")}
    return {"description": text, **field}


def _without(field: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in field.items() if key not in keys}


def _needs(kind: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "if": {"properties": {"normalisation": {"const": kind}}, "required": ["normalisation"]},
        "then": {"properties": {name: {"type": "number"} for name in names}, "required": list(names)},
    }


def main() -> None:
    Path(plan_file.SCHEMA).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
