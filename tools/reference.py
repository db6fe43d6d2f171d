"""Pages of the reference that are made from the code: the commands, the fields of a plan, the public names.

`tools/build_site.py` writes them before it builds the site; they are not kept in the repository.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer

import unetr
from unetr.app.cli import app
from unetr.core.plan.file import schema_text

REPOSITORY = Path(__file__).resolve().parents[1]

_COMMANDS_HEAD = """# Commands

This page is made from the program itself: it says what `unetr COMMAND --help` says. Every command ends with one of the
[exit codes](exit-codes.md). `unetr --debug COMMAND` shows the cause of a refusal as a traceback.
"""
_PYTHON_HEAD = """# Python API

Everything on this page can be imported from `unetr` itself, as in `unetr.load`; the errors are in `unetr.errors`.
[From Python](../howto/python.md) shows how the parts are used together.
"""
# What the public functions take and give, beside what is public itself.
_PASSED_AND_RETURNED = (
    "unetr.jobs.predict.request.PredictRequest",
    "unetr.jobs.predict.request.PredictOutcome",
    "unetr.jobs.predict.report.CaseRecord",
    "unetr.infer.verdict.Verdict",
    "unetr.jobs.evaluate.EvaluateRequest",
    "unetr.evaluation.results.Results",
    "unetr.evaluation.results.ClassSummary",
    "unetr.evaluation.results.ClassScore",
    "unetr.evaluation.summary.Statistic",
)
_PLAN_HEAD = """# Plan fields

This page is made from the JSON Schema that is part of the package. `unetr plan --schema` prints that schema;
[Edit a plan](../howto/plan.md) says how an editor uses it to complete and check plans. What a plan is for is on
[its own page](../concepts/plan.md).

A field without a default is required. Unknown keys are errors. Some rules join several fields, such as "taps increase
and lie within the depth"; the program checks those when it reads the plan, and names the field in one line.
"""


def pages() -> dict[str, str]:
    """Path below docs/ -> text of every page that is made from the code."""
    return {
        "reference/commands.md": commands_page(),
        "reference/plan.md": plan_page(),
        "reference/python.md": python_page(),
    }


def commands_page() -> str:
    """Every command with its usage, arguments and options."""
    group: Any = typer.main.get_command(app)
    sections = [_COMMANDS_HEAD]
    for name, command in group.commands.items():
        context = typer.Context(command, info_name=f"unetr {name}")
        text, _, example = (command.help or "").partition("Example:")
        sections.append(f"## unetr {name}\n\n{_escaped(text.strip())}\n")
        usage = " ".join(command.get_usage(context).removeprefix("Usage:").split())
        shown = f"{usage}\n\n# Example\n{' '.join(example.split())}" if example else usage
        sections.append(f"```sh\n{shown}\n```\n")
        rows = [parameter.get_help_record(context) for parameter in command.params]
        sections.append(
            _table(("argument or option", "meaning"), [(f"`{a}`", _escaped(b)) for a, b in filter(None, rows)])
        )
    return "\n".join(sections)


def python_page() -> str:
    """Every public name, to be filled in by mkdocstrings: what is called first, then what is passed and returned."""
    named = {name: getattr(unetr, name) for name in unetr.__all__ if not name.startswith("__")}
    names = sorted(named, key=lambda name: (isinstance(named[name], type), name.lower()))
    entries = [_entry(f"{named[name].__module__}.{name}", f"unetr.{name}") for name in names]
    passed = {path.rpartition(".")[2]: path for path in _PASSED_AND_RETURNED}
    others = [_entry(path, name) for name, path in passed.items() if name not in named]
    return "\n".join(
        [_PYTHON_HEAD, *entries, "## Options and results\n", *others, _entry("unetr.errors", "unetr.errors")]
    )


def _entry(path: str, heading: str) -> str:
    level = 2 if heading.startswith("unetr.") else 3
    lines = [f"heading: {heading}", f"toc_label: {heading.removeprefix('unetr.')}", f"heading_level: {level}"]
    return "\n".join([f"::: {path}", "    options:", *(f"      {line}" for line in lines), ""])


def plan_page() -> str:
    """Every field of the plan's schema with its type, bounds, default and meaning."""
    schema = json.loads(schema_text())
    parts = [_PLAN_HEAD, _section("Plan", schema, "The top level of `plan.yaml`.")]
    for name, definition in schema["$defs"].items():
        parts.append(_section(_spaced(name), definition, definition.get("description", "")))
    return "\n".join(parts)


def _section(title: str, definition: dict[str, Any], text: str) -> str:
    required = definition.get("required", [])
    rows = []
    for name, field in definition["properties"].items():
        default = "required" if name in required else _default(field.get("default"))
        rows.append((f"`{name}`", _type(field), default, _escaped(field.get("description", ""))))
    return f"## {title}\n\n{_escaped(text)}\n\n" + _table(("field", "type", "default", "meaning"), rows)


def _default(value: Any) -> str:
    return "its own defaults" if isinstance(value, dict) and value else f"`{json.dumps(value)}`"


def _type(field: dict[str, Any]) -> str:
    """What a field may hold, in a few words."""
    if "allOf" in field:
        return _type(field["allOf"][0])
    if "$ref" in field:
        name = _spaced(field["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower().replace(' ', '-')})"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(one) for one in field["anyOf"]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if field["type"] == "array":
        least, most = field.get("minItems"), field.get("maxItems")
        count = f"{least} × " if least is not None and least == most else "list of "
        return count + _type(field["items"])
    if field["type"] == "object":
        return "name to " + _type(field["additionalProperties"])
    return {"integer": "whole number", "string": "text", "boolean": "true or false"}.get(
        field["type"], field["type"]
    ) + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field]
    return f" {', '.join(said)}" if said else ""


def _spaced(name: str) -> str:
    """`AugmentPlan` -> `Augment plan`."""
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[0].lower()}", name)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _escaped(text: str) -> str:
    """Text of the program as Markdown: capital words and braces are shown as they are."""
    return text.replace("->", "→").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
