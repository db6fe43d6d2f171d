"""The plan that `unetr plan --template` prints: every field of the schema with its default and a comment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from unetr.core.plan.file import schema_text
from unetr.core.plan.schema import ChannelPlan, Plan

_HEAD = """\
# A plan says how a scan becomes the network's input and how its output becomes a label file.
# Keys marked "required" must be filled in; the others may be left out and then have the value shown here.
# Unknown keys are errors.
"""
_COMMENT_COLUMN = 44
_WIDTH = 120


def template_plan() -> str:
    """YAML text that `read_plan` accepts as it is; the numbers of the required keys are examples for a CT model."""
    example = Plan(
        dataset="my-dataset",
        channels=(ChannelPlan(name="CT", normalisation="range", low=-175.0, high=250.0),),
        labels={"background": 0, "organ": 1},
        spacing_mm=(1.5, 1.5, 2.0),
        window=(96, 96, 96),
    )
    schema = json.loads(schema_text())
    return _HEAD + "\n".join(_Template(schema).lines(json.loads(example.model_dump_json()), schema, "")) + "\n"


@dataclass(frozen=True, slots=True)
class _Template:
    """Writes mappings as YAML lines; comments come from the descriptions of the plan's JSON Schema."""

    schema: dict[str, Any]

    def lines(self, section: dict[str, Any], known: dict[str, Any], indent: str) -> list[str]:
        """Sections are indented under their key, lists of numbers stand on one line. known: the section's schema."""
        lines = []
        for key, value in section.items():
            field = known["properties"][key]
            comment = ("required: " if key in known.get("required", ()) else "") + field.get("description", "")
            if isinstance(value, dict) and value and "additionalProperties" not in field:
                lines += [_commented(f"{indent}{key}:", comment), *self.lines(value, self._meant(field), indent + "  ")]
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                lines.append(_commented(f"{indent}{key}:", comment))
                for item in value:
                    first, *rest = self.lines(item, self._meant(field["items"]), indent + "    ")
                    lines += [f"{indent}  - {first.lstrip()}", *rest]
            else:
                lines.append(_commented(f"{indent}{key}: {_scalar(value)}", comment))
        return lines

    def _meant(self, field: dict[str, Any]) -> dict[str, Any]:
        reference: str = field["allOf"][0]["$ref"] if "allOf" in field else field["$ref"]
        found: dict[str, Any] = self.schema["$defs"][reference.rpartition("/")[2]]
        return found


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _commented(line: str, comment: str) -> str:
    """The line with the first sentence of the comment, or as much of it as has room."""
    room = _WIDTH - max(len(line), _COMMENT_COLUMN) - 2
    short = comment.partition(". ")[0].rstrip(".")
    if len(short) > room:
        short = short.partition(";")[0]
    return f"{line:<{_COMMENT_COLUMN}}# {short}" if short else line
