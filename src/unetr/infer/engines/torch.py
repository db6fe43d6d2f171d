"""The torch engine: CUDA, Apple's MPS, or the CPU."""

from __future__ import annotations

import re

import numpy as np
import torch

from unetr.errors import InputError, MachineError
from unetr.infer.sweep.windows import Engine, Float
from unetr.model.open_model import Opened
from unetr.model.torch_network import network_from


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware (CPUs: AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, else MPS, else the CPU.

    Raises InputError for a name that is no device's, MachineError for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise InputError(f"device {name}: is unknown; expected auto, cpu, cuda, cuda:1 or mps")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise MachineError(
            f"device {name}: not available on this machine ({reason}); expected another one, such as cpu", hint="device"
        ) from None
    return device


def network_engine(network: torch.nn.Module, device: torch.device, bf16: bool) -> Engine:
    """Runs a network that is already on `device`, in bfloat16 autocast or in its own precision."""

    def run(windows: Float) -> Float:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = network(torch.from_numpy(np.ascontiguousarray(windows)).to(device))
        result: Float = logits.float().cpu().numpy()
        return result

    return run


def torch_engine(opened: Opened, device: str, precision: str) -> Engine:
    """device: as `choose_device` takes it. precision: fp32 or bf16. Raises InputError for what is no model file."""
    if opened.kind != "model":
        raise InputError(f"{opened.source}: engine torch runs model files (.safetensors), not exported networks")
    found = choose_device(device)
    return network_engine(network_from(opened.model).to(found).eval(), found, precision == "bf16")
