"""The images and the compose file keep what they promise: no root, nothing to write to, open to this machine alone.

Neither is built here. `.ci/container` runs what they run, in an environment of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from unetr.app.cli import app

TREE = Path(__file__).resolve().parents[2]
CONTAINERFILES = (TREE / "Containerfile", TREE / "deploy" / "Orthanc.Containerfile")
COMPOSE = TREE / "deploy" / "compose.yaml"


def instructions(path: Path) -> list[tuple[str, str]]:
    """Each instruction and its text, in their order."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, text) for word, _, text in (line.partition(" ") for line in whole.splitlines() if line.strip())]


def stages(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Name of a stage -> its instructions, those of the stage that it begins with first."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, text in instructions(path):
        if word == "FROM":
            base, _, name = text.partition(" AS ")
            found[name] = [*found.get(base, []), (word, text)]
        else:
            found[name].append((word, text))
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.name)
def test_an_image_is_no_roots_and_of_a_named_version(path: Path) -> None:
    built = stages(path)
    last = list(built)[-1]
    for name in {last, "service"} & set(built):
        users = [text for word, text in built[name] if word == "USER"]
        assert users[-1] == "65532:65532", name
    for word, text in instructions(path):
        assert word != "ADD"
        if word == "FROM" and not text.startswith(tuple(built)[:-1] or "-"):
            assert re.fullmatch(r"[a-z]+:[\w.-]+", text.partition(" AS ")[0]), text
        if word == "RUN" and "pip install" in text:
            assert "--no-cache-dir" in text


def test_both_images_run_the_command_and_the_service_is_asked_how_it_is() -> None:
    built = stages(CONTAINERFILES[0])
    assert list(built)[-1] == "predict"
    for name in ("service", "predict"):
        assert ("ENTRYPOINT", '["unetr"]') in built[name]
    told = dict(built["service"])
    assert json.loads(told["VOLUME"]) == ["/queue", "/cache"]
    (check,) = [text for word, text in built["service"] if word == "HEALTHCHECK"]
    assert check.startswith("--interval=") and "http://127.0.0.1:8000/healthz" in check
    assert str(parsed(json.loads(told["CMD"]))["folder"]) == "/queue"


def test_every_service_is_closed(services: dict[str, Any]) -> None:
    assert sorted(services) == ["node", "orthanc", "serve"]
    for name, service in services.items():
        closed = (service["read_only"], service["cap_drop"], service["security_opt"])
        assert closed == (True, ["ALL"], ["no-new-privileges:true"]), name
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "environment", "env_file"} & set(service)
        assert service["ports"] and all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert all(mount.endswith(":ro") for mount in service["volumes"] if mount.startswith("."))
        assert service["secrets"], name


def test_secrets_are_files_and_none_is_in_the_repository(services: dict[str, Any]) -> None:
    whole = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    assert all(secret["file"].startswith("./secrets/") for secret in whole["secrets"].values())
    assert not (TREE / "deploy" / "secrets").exists() or "secrets" in (TREE / ".gitignore").read_text(encoding="utf-8")
    named = {mount.partition(":")[0] for service in services.values() for mount in service["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(whole["volumes"])
    assert all((TREE / "deploy" / name).is_file() for name in named if name.startswith("."))


@pytest.mark.parametrize("name", ["node", "serve"])
def test_the_commands_are_ones_of_unetr(name: str, services: dict[str, Any]) -> None:
    told = parsed(services[name]["command"])
    assert str(told["folder"]) in {mount.split(":")[1] for mount in services[name]["volumes"]}
    if name == "serve":
        assert (told["host"], str(told["token_file"])) == ("0.0.0.0", "/run/secrets/tokens")


def test_docker_compose_takes_the_file() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not on this machine")
    done = subprocess.run([program, "-f", str(COMPOSE), "config", "-q"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def parsed(command: list[str]) -> dict[str, Any]:
    """The options of a command of unetr, as it reads them. Fails for one that it does not have."""
    group: Any = typer.main.get_command(app)
    name, *options = command
    context = group.commands[name].make_context(name, list(options))
    return dict(context.params)
