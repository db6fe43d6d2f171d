"""Predicts scans with MONAI alone: what `unetr predict` is compared with; also a module for the other benchmarks.

    uv run python benchmarks/monai_predict.py WEIGHTS.pt PLAN.json SCAN.nii.gz [SCAN ...] -o FOLDER

Load, orient, resample, scale, sliding window (overlap and blending of the plan), softmax, invert, arg-max, save, in
eager fp32. WEIGHTS.pt and PLAN.json are written by `export`. The network is loaded once for all scans. The last line
printed is JSON: seconds of imports, loading, network and everything.

Where MONAI's ways differ from unetr's, and what is done here:
- Spacing runs with scale_extent, so both keep the outer edges of the volume, align_corners is off, border mode.
- Window starts, symmetric padding by zeros after scaling, sigma 0.125 and the weights' floor of 1e-3 are the same.
- Probabilities, not logits, are resampled to the scan's grid, as in unetr.
- MONAI's UNETR reads other hidden states than preset `paper`; `TappedViT` hands it those of the plan.
- `crop: content`, regions and several channels are not supported and refused.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402
from monai.data import MetaTensor  # noqa: E402
from monai.inferers import sliding_window_inference  # noqa: E402
from monai.networks.nets import UNETR  # noqa: E402
from monai.transforms import (  # noqa: E402
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImage,
    ScaleIntensityRanged,
    Spacingd,
)

IMPORTED = time.perf_counter()


class TappedViT(torch.nn.Module):
    """MONAI's ViT, giving UNETR.forward the hidden states (counted from 1) that the plan names."""

    def __init__(self, vit: torch.nn.Module, taps: list[int], final_norm: bool) -> None:
        super().__init__()
        self.vit, self.taps, self.final_norm = vit, taps, final_norm

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        last, hidden = self.vit(x)
        tapped = {place: hidden[tap - 1] for place, tap in zip((3, 6, 9), self.taps[:3], strict=True)}
        return (last if self.final_norm else hidden[self.taps[3] - 1]), tapped


def monai_network(plan: dict[str, Any], outputs: int) -> UNETR:
    """MONAI's UNETR with the shape that the plan says, before TappedViT."""
    net = plan["network"]
    return UNETR(
        in_channels=len(plan["channels"]),
        out_channels=outputs,
        img_size=tuple(plan["window"]),
        feature_size=net["feature_size"],
        hidden_size=net["width"],
        mlp_dim=net["mlp_width"],
        num_heads=net["heads"],
        proj_type="perceptron" if net["projection"] == "linear" else "conv",
        norm_name=net["norm"],
        conv_block=net["tap_convolutions"],
        res_block=net["residual"],
        qkv_bias=net["qkv_bias"],
    )


def export(model: Path, weights: Path, plan_file: Path) -> None:
    """Weights and plan of a unetr model file for this script: the reverse of `unetr convert monai`."""
    from unetr.model.convert import _MONAI_UNUSED, _matches, _rename
    from unetr.model.file.model_file import read_model

    read = read_model(model)
    plan = read.plan.model_dump(mode="json") | {"outputs": read.plan.outputs}
    target = monai_network(plan, read.plan.outputs).state_dict()
    for name, tensor in target.items():
        if _matches(name, _MONAI_UNUSED):
            continue
        ours = _rename(name)
        if ours not in read.weights and ours.startswith("encoder.norm.") and not plan["network"]["final_norm"]:
            continue
        target[name] = torch.as_tensor(read.weights[ours]).reshape(tensor.shape).clone()
    torch.save(target, weights)
    plan_file.write_text(json.dumps(plan))


def load(weights: Path, plan: dict[str, Any]) -> UNETR:
    network = monai_network(plan, plan["outputs"])
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.vit = TappedViT(network.vit, plan["network"]["taps"], plan["network"]["final_norm"])
    return network.eval()


def transforms(plan: dict[str, Any]) -> Compose:
    if len(plan["channels"]) != 1 or plan["regions"] or plan["crop"] != "none":
        raise SystemExit("plan: expected one channel, no regions, crop: none")
    channel = plan["channels"][0]
    kind = channel["normalisation"]
    scale: list[Any] = []
    if kind == "range":
        scale = [ScaleIntensityRanged("image", channel["low"], channel["high"], 0.0, 1.0, clip=True)]
    elif kind == "zscore":
        scale = [NormalizeIntensityd("image")]
    elif kind == "ct":
        low, high = channel["low"], channel["high"]
        scale = [
            ScaleIntensityRanged("image", low, high, low, high, clip=True),
            NormalizeIntensityd("image", subtrahend=channel["mean"], divisor=channel["std"]),
        ]
    spacing = Spacingd("image", tuple(plan["spacing_mm"]), mode="bilinear", padding_mode="border", scale_extent=True)
    first = [LoadImaged("image"), EnsureChannelFirstd("image"), Orientationd("image", plan["orientation"]), spacing]
    return Compose([*first, *scale])


def predict(network: UNETR, plan: dict[str, Any], scan: Path, out: Path, batch: int) -> float:
    """Predicts one scan and writes it to the folder `out`; returns the seconds of the network."""
    before = transforms(plan)
    data = before({"image": str(scan)})
    image = data["image"]
    start = time.perf_counter()
    with torch.inference_mode():
        logits = sliding_window_inference(
            image[None],
            tuple(plan["window"]),
            batch,
            network,
            overlap=plan["inference"]["overlap"],
            mode=plan["inference"]["blending"],
            sigma_scale=0.125,
        )
    seconds = time.perf_counter() - start
    scores = torch.softmax(logits[0], dim=0)
    data["scores"] = MetaTensor(scores, meta=image.meta, applied_operations=image.applied_operations)
    invert = Invertd("scores", before, orig_keys="image", nearest_interp=False, to_tensor=True)
    labels = invert(data)["scores"].argmax(dim=0, keepdim=True)
    SaveImage(out, "", ".nii.gz", output_dtype="uint8", resample=False, separate_folder=False, print_log=False)(labels)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("plan", type=Path)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=1, help="windows at a time (sw_batch_size)")
    asked = parser.parse_args()
    plan = json.loads(asked.plan.read_text())
    network = load(asked.weights, plan)
    loaded = time.perf_counter()
    seconds = sum(predict(network, plan, scan, asked.out, asked.batch) for scan in asked.scans)
    end = time.perf_counter()
    times = {"imports": IMPORTED - STARTED, "load": loaded - IMPORTED, "network": seconds, "scans": end - loaded}
    print(json.dumps({name: round(value, 3) for name, value in times.items()}))


if __name__ == "__main__":
    main()
