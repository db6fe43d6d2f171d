"""The JSON Schema of the plan: it is what the code makes, takes what the program takes, and refuses what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tools.plan_schema import RECORDS, descriptions, plan_schema, schema_text
from tools.reference import plan_page

from unetr.core.plan import file as plan_file
from unetr.core.plan.file import parse_plan, plan_to_yaml
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.prepare.planning.presets import ABLATIONS, PEER_NAMES, PRESETS, network_named
from unetr.prepare.planning.template import template_plan

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft7Validator:
    jsonschema.Draft7Validator.check_schema(plan_schema())
    return jsonschema.Draft7Validator(plan_schema())


def template() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(template_plan())
    return data


def test_the_shipped_schema_is_what_the_code_makes() -> None:
    assert plan_file.schema_text() == schema_text(), "run: uv run python tools/plan_schema.py"


def test_every_field_says_what_it_means() -> None:
    for record in RECORDS:
        assert list(descriptions(record)) == list(record.model_fields), record.__name__


def test_the_command_prints_it(unetr: Callable[..., Any]) -> None:
    outcome = unetr("plan", "--schema")
    assert (outcome.code, outcome.out, outcome.err) == (0, schema_text(), "")


def test_the_template_is_valid_and_explains_itself(schema: jsonschema.Draft7Validator) -> None:
    schema.validate(template())
    text = template_plan()
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("# required: ") == 6
    assert "# required: Voxels that the network sees at once" in text


@pytest.mark.parametrize("name", [*PRESETS, *ABLATIONS, *PEER_NAMES])
def test_the_plans_of_all_networks_are_valid(name: str, schema: jsonschema.Draft7Validator) -> None:
    plan = Plan.model_validate(template() | {"network": network_named(name)})
    if name in PRESETS:
        plan = plan.model_copy(update={"training": PRESETS[name].training})
    schema.validate(yaml.safe_load(plan_to_yaml(plan)))


def test_plans_of_data_are_valid(
    schema: jsonschema.Draft7Validator, unetr: Callable[..., Any], make_dataset: Callable[..., Path]
) -> None:
    schema.validate(yaml.safe_load(unetr("plan", make_dataset(kind="balls")).out))


WRONG: dict[str, Edit] = {
    "an unknown key": lambda plan: plan.update(windows=[96, 96, 96]),
    "a missing key": lambda plan: plan.pop("spacing_mm"),
    "two numbers for three axes": lambda plan: plan.update(window=[96, 96]),
    "text for a number": lambda plan: plan.update(window=["large", 96, 96]),
    "a window of no voxels": lambda plan: plan.update(window=[0, 96, 96]),
    "true for a number": lambda plan: plan["training"].update(batch_size=True),
    "a spacing below the bound": lambda plan: plan.update(spacing_mm=[0, 1, 1]),
    "an unknown normalisation": lambda plan: plan["channels"][0].update(normalisation="minmax"),
    "CT without its numbers": lambda plan: plan["channels"][0].update(normalisation="ct"),
    "range without a limit": lambda plan: plan["channels"][0].update(low=None),
    "no channels": lambda plan: plan.update(channels=[]),
    "an unknown precision": lambda plan: plan["training"].update(precision="fp16"),
    "a share above 1": lambda plan: plan["training"].update(foreground_fraction=1.5),
    "dropout of everything": lambda plan: plan["network"].update(dropout=1.0),
    "an orientation in other letters": lambda plan: plan.update(orientation="XYZ"),
    "a label that is no number": lambda plan: plan.update(labels={"background": 0, "organ": "one"}),
    "another version": lambda plan: plan.update(plan_version=2),
    "a rule with an unknown key": lambda plan: plan.update(postprocess={"organ": {"largest": True}}),
    "a window all of which overlaps": lambda plan: plan["inference"].update(overlap=0.95),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_plans_are_refused_by_both(kind: str, schema: jsonschema.Draft7Validator) -> None:
    plan = template()
    WRONG[kind](plan)
    assert not schema.is_valid(plan)
    with pytest.raises(InputError):
        parse_plan(plan, "plan.yaml")


def test_names_of_decoders_presets_and_peers_are_offered(schema: jsonschema.Draft7Validator) -> None:
    network = plan_schema()["$defs"]["NetworkPlan"]["properties"]
    assert network["decoder"]["enum"] == ["unetr", "nup", "pup", "mla", "stem"]
    assert {"paper", "small", "tiny"} <= set(network["preset"]["anyOf"][0]["enum"])
    assert network["peer"]["anyOf"][0]["enum"] == list(PEER_NAMES)
    plan = template()
    plan["network"]["preset"] = "a name of my own"
    schema.validate(plan)
    plan["network"]["decoder"] = "none of ours"
    assert not schema.is_valid(plan)


def test_the_page_of_the_reference_has_every_field() -> None:
    page = plan_page()
    for record in RECORDS:
        for name in record.model_fields:
            assert f"| `{name}` | " in page, name
