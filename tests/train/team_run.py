"""Trainings by one or several processes, one after the other: python team_run.py SCENARIOS.json CACHE.

torch is imported once, then each process of a scenario is a fork with the environment that torchrun would give it.
A scenario's folder is beside the file: its run goes into `run`, exit codes into `codes.json`, what the processes say
into `said<rank>`, and the leader's weights into `weights.npz`. `copy_of`: it starts with what another one left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.train.listener import Listener

from unetr.app.launch import launch
from unetr.core.plan.schema import Plan
from unetr.errors import UnetrError
from unetr.prepare.cache import Cache
from unetr.train.loop import Options, train
from unetr.train.observer import TrainedStep
from unetr.train.run.checkpoint import averaged_weights
from unetr.train.run.folder import Run
from unetr.train.run.resume import open_run
from unetr.train.run.settings import Settings
from unetr.train.team import assemble

CASES = ("small", "mixed", "large")


def settings(steps: int) -> Settings:
    return Settings(
        dataset="balls",
        preset="test",
        fold=0,
        folds=5,
        seed=3,
        steps=steps,
        minutes=None,
        training_cases=CASES[:2],
        validation_cases=CASES[2:],
        schedule_steps=steps,
    )


def one_process(folder: Path, scenario: dict[str, Any], cache: Cache) -> None:
    torch.set_num_threads(1)
    run, here = Run(folder / "run"), launch(scenario["sharded"])
    team = assemble(here)
    with team.missing_nobody():
        with team.leader_first():
            plan = Plan.model_validate(scenario["plan"])
            asked = open_run(run, plan, settings(scenario["steps"]), None)

        def on_step(report: TrainedStep) -> None:
            if report.step == scenario.get("kills_after"):
                # Only the leader is told of steps: it waits for the other one to be gone.
                (folder / "waits").touch()
                while not (folder / "killed").exists():
                    time.sleep(0.01)

        options = Options(checkpoint_steps=2, launch=here)
        weights = averaged_weights(train(run, cache, plan, asked, Listener(on_step=on_step), options))
    if team.leads:
        np.savez(folder / "weights.npz", **{name: tensor.numpy() for name, tensor in weights.items()})


def fork(folder: Path, scenario: dict[str, Any], cache: Cache, rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    size = str(scenario["processes"])
    torchrun = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "GROUP_RANK": 0}
    torchrun |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    if scenario["processes"] > 1:
        os.environ.update({name: str(value) for name, value in torchrun.items()})
    code = 1
    with (folder / f"said{rank}").open("w") as said:
        try:
            one_process(folder, scenario, cache)
            code = 0
        except UnetrError as error:
            said.write(str(error))
            code = error.exit_code
        except Exception:  # noqa: BLE001
            said.write(traceback.format_exc())
    os._exit(code)


def ended(child: int) -> int:
    """The exit code of a child, waited for."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def play(folder: Path, scenario: dict[str, Any], cache: Cache) -> None:
    if "copy_of" in scenario:
        shutil.copytree(folder.with_name(scenario["copy_of"]), folder)
    else:
        folder.mkdir()
    for name in scenario.get("without", ()):
        (folder / name).unlink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [fork(folder, scenario, cache, rank, port) for rank in range(scenario["processes"])]
    codes = []
    if "kills_after" in scenario:
        while not (folder / "waits").exists():
            time.sleep(0.01)
        os.kill(children[-1], signal.SIGKILL)
        codes = [ended(children.pop())]  # gone when the leader goes on, not going
        (folder / "killed").touch()
    codes = [*map(ended, children), *codes]
    (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    scenarios = Path(sys.argv[1])
    for name, scenario in json.loads(scenarios.read_text()).items():
        play(scenarios.with_name(name), scenario, Cache(Path(sys.argv[2]), CASES))
