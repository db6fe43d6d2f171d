"""Plans as text: YAML or JSON in, YAML out. Knows files and errors for people, not what a plan means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from unetr.core.files.atomic import write_text
from unetr.core.plan.schema import Plan
from unetr.core.text.reading import parse_yaml, read_text
from unetr.core.text.records import record_from
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.printable import printable_lines

# For editors; made by tools/plan_schema.py.
SCHEMA = Path(__file__).with_name("plan.schema.json")


def parse_plan(data: Any, source: str) -> Plan:
    """Checks decoded YAML/JSON. Raises InputError naming `source` and the first key that is wrong."""
    if not isinstance(data, dict):
        raise InputError(
            f"{source}: is not a plan; expected a mapping with the keys of one, as dataset, channels and labels",
            hint="template",
        )
    return record_from(Plan, data, source)


@reads_untrusted("a plan (YAML or JSON)")
def read_plan(path: Path) -> Plan:
    """Reads a plan from YAML or JSON. Raises InputError."""
    return parse_plan(parse_yaml(read_text(path, "a plan (YAML or JSON)"), str(path)), str(path))


def schema_text() -> str:
    """The JSON Schema of a plan, for editors."""
    return SCHEMA.read_text(encoding="utf-8")


def plan_to_yaml(plan: Plan) -> str:
    """The plan as YAML, sections in the order of the fields, each reason on lines of its own."""
    data = json.loads(plan.model_dump_json())
    reasons = {"reasons": data.pop("reasons")}
    parts = [(data, None), (reasons, False)]  # lists of numbers on one line, sentences below each other
    texts = [yaml.safe_dump(p, sort_keys=False, allow_unicode=True, width=120, default_flow_style=f) for p, f in parts]
    if printable_lines("".join(texts)) != "".join(texts):  # YAML escapes controls, but not what turns letters around
        texts = [yaml.safe_dump(p, sort_keys=False, width=120, default_flow_style=f) for p, f in parts]
    return "".join(texts)


def write_plan(path: Path, plan: Plan) -> None:
    """Writes the plan as YAML, atomically."""
    write_text(path, plan_to_yaml(plan), private=False)
