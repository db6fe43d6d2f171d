"""The tools by the SDK's own client, over standard input and output of a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from tests.systems import POSIX

import unetr
from mcp import Client
from unetr.errors import InputError
from unetr.jobs.predict.observer import PredictObserver
from unetr.mcp.folders import open_folders
from unetr.mcp.tools import Ask, Tools, offered

FORMATS = ("nifti", "dicom-seg")
ASK = {"scan": "scan.nii.gz", "model": "hippocampus"}


def words(result: Any) -> str:
    return " ".join(part.text for part in result.content)


def test_a_scan_is_described_segmented_and_judged_as_from_python(talk: Callable[..., Any], room: Path) -> None:
    heard: list[tuple[float, float | None]] = []

    async def progress(done: float, of: float | None, _text: str | None) -> None:
        heard.append((done, of))

    async def conversation(client: Client) -> dict[str, Any]:
        tools = await client.list_tools()
        told = {"tools": {tool.name: tool for tool in tools.tools}}
        told["models"] = (await client.call_tool("list_models", {})).structured_content
        told["scan"] = (await client.call_tool("describe_scan", {"path": "scan.nii.gz"})).structured_content
        done = await client.call_tool("segment", ASK, progress_callback=progress)
        assert not done.is_error, words(done)
        told["segment"] = done.structured_content
        again = {"result": done.structured_content["result"]}
        told["volumes"] = (await client.call_tool("volumes", again)).structured_content
        told["verdict"] = (await client.call_tool("verdict", again)).structured_content
        return told

    told = talk(conversation)
    assert list(told["tools"]) == ["list_models", "describe_scan", "volumes", "verdict", "segment"]
    assert all(tool.description and tool.output_schema for tool in told["tools"].values())
    assert told["models"]["hippocampus"]["labels"] == {"background": 0, "Anterior": 1, "Posterior": 2}
    scan = unetr.read_volume(room / "scans" / "scan.nii.gz")
    assert told["scan"]["shape"] == list(scan.shape) and told["scan"]["kind"] == "volume"

    ours = unetr.load("hippocampus").predict(room / "scans" / "scan.nii.gz")
    result = Path(told["segment"]["result"])
    assert result == room / "results" / "scan.nii.gz"
    assert np.array_equal(unetr.read_volume(result).data, ours.labels.data)
    assert told["segment"]["volumes_ml"] == told["volumes"]["volumes_ml"] == pytest.approx(ours.volumes_ml)
    assert told["verdict"] == told["segment"]["verdict"]
    assert (told["verdict"]["state"], told["verdict"]["unchanged"]) == (ours.verdict.state, True)
    assert heard and heard[-1][0] == heard[-1][1] and heard == sorted(heard)


def test_what_is_wrong_is_told_in_words_and_writes_nothing(talk: Callable[..., Any], room: Path) -> None:
    (room / "scans" / "text.nii.gz").write_text("no scan")
    (room / "scans" / "table.csv").write_text(f"id,image\na,{room / 'secret' / 'other.nii.gz'}\n")
    wrong = {
        "is no model here": {"model": "liver"},
        "is no name for a result": {"name": "../up"},
        "is unknown; expected one of nifti": {"format": "jpeg"},
        "is no DICOM, which format dicom-seg must refer to": {"format": "dicom-seg"},
        "no such file": {"scan": "absent.nii.gz"},
        "text.nii.gz: ": {"scan": "text.nii.gz"},
        "is no scan; expected a scan file or DICOM": {"scan": "table.csv"},
        "Input should be a valid boolean": {"strict": "perhaps"},
    }

    async def conversation(client: Client) -> dict[str, Any]:
        told = {text: await client.call_tool("segment", ASK | changed) for text, changed in wrong.items()}
        told["Field required"] = await client.call_tool("segment", {"scan": "scan.nii.gz"})
        told["has no report beside it"] = await client.call_tool("verdict", {"result": "scan.nii.gz"})
        return told

    told = talk(conversation)
    assert {text: (result.is_error, text in words(result)) for text, result in told.items()} == dict.fromkeys(
        told, (True, True)
    ), {text: words(result) for text, result in told.items()}
    assert not any("Traceback" in words(result) for result in told.values())
    assert [path.name for path in (room / "results").iterdir() if path.name != ".unetr_outputs"] == []


def test_a_result_is_never_replaced_and_a_changed_one_is_counted(talk: Callable[..., Any], room: Path) -> None:
    async def conversation(client: Client) -> list[Any]:
        first = await client.call_tool("segment", ASK | {"name": "left"})
        second = await client.call_tool("segment", ASK | {"name": "left"})
        third, fourth = await client.call_tool("segment", ASK), await client.call_tool("segment", ASK)
        path = first.structured_content["result"]
        labels = unetr.read_volume(path)
        unetr.write_volume(path, labels.with_data(np.where(labels.data == 2, 0, labels.data)))
        counted = await client.call_tool("volumes", {"result": path})
        changed = await client.call_tool("verdict", {"result": "left.nii.gz"})
        return [first, second, third, fourth, counted, changed]

    first, second, third, fourth, counted, changed = talk(conversation)
    assert second.is_error and "there is a result of this name" in words(second)
    names = [Path(one.structured_content["result"]).name for one in (first, third, fourth)]
    assert names == ["left.nii.gz", "scan.nii.gz", "scan-2.nii.gz"]
    expected = {"Anterior": first.structured_content["volumes_ml"]["Anterior"]}
    assert counted.structured_content == {"volumes_ml": pytest.approx(expected), "source": "counted"}
    assert changed.structured_content["unchanged"] is False


@pytest.fixture
def large(room: Path) -> Path:
    """A scan that takes half a minute."""
    small = unetr.read_volume(room / "scans" / "scan.nii.gz")
    path = room / "scans" / "large.nii"
    unetr.write_volume(path, small.with_data(np.tile(small.data, (1, 6, 4, 6))))
    return path


@pytest.mark.parametrize("how", [pytest.param("SIGTERM", marks=POSIX), "end of input"])
def test_a_server_that_ends_leaves_nothing_half_written(how: str, large: Path, room: Path) -> None:
    command = [sys.executable, "-P", "-m", "unetr", "mcp", "--allow", "scans", "--out", "results"]
    named = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    asked = {"name": "segment", "arguments": ASK | {"scan": large.name}, "_meta": {"progressToken": 1}}
    requests: list[dict[str, Any]] = [{"method": "initialize", "id": 1, "params": named}]
    requests += [{"method": "notifications/initialized"}, {"method": "tools/call", "id": 2, "params": asked}]
    with subprocess.Popen(command, cwd=room, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        for request in requests:
            server.stdin.write(json.dumps({"jsonrpc": "2.0"} | request).encode() + b"\n")
        server.stdin.flush()
        lines = [json.loads(server.stdout.readline()) for _ in range(2)]  # the protocol, and nothing else
        assert (lines[0]["id"], lines[1]["method"]) == (1, "notifications/progress")
        if how == "SIGTERM":
            server.terminate()
        else:
            server.stdin.close()
        assert server.wait(20) == (143 if how == "SIGTERM" else 0)
    assert [path.name for path in (room / "results").iterdir() if path.name != ".unetr_outputs"] == []


def test_a_cancelled_segmentation_ends_and_the_next_one_runs(talk: Callable[..., Any], large: Path, room: Path) -> None:
    async def conversation(client: Client) -> tuple[float, bool, Any]:
        begun = anyio.Event()

        async def progress(done: float, of: float | None, _text: str | None) -> None:
            begun.set()

        async with anyio.create_task_group() as group:

            async def long() -> None:
                await client.call_tool("segment", ASK | {"scan": large.name}, progress_callback=progress)
                raise AssertionError("it was not cancelled")

            group.start_soon(long)
            await begun.wait()
            group.cancel_scope.cancel()
        start = time.monotonic()
        after = await client.call_tool("segment", ASK | {"name": "after"})
        return time.monotonic() - start, (room / "results" / "large.nii.gz").exists(), after

    took, written, after = talk(conversation)
    assert not after.is_error and not written
    assert took < 10


def test_two_at_once_never_share_a_file_nor_two_formats_a_report(room: Path, maker: Any) -> None:
    (room / "scans" / "other").mkdir()
    other = unetr.read_volume(room / "scans" / "scan.nii.gz")
    unetr.write_volume(room / "scans" / "other" / "scan.nii.gz", other.with_data(other.data[:, ::-1]))
    tools = Tools(open_folders([room / "scans"], room / "results"), offered(["hippocampus"]))
    asks = [Ask(scan=scan, model="hippocampus") for scan in ("scan.nii.gz", "other/scan.nii.gz")]
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda ask: tools.segment(ask, PredictObserver()), asks))
    assert {Path(one.result).name for one in done} == {"scan.nii.gz", "scan-2.nii.gz"}
    for one in done:
        assert tools.verdict(one.result).unchanged
        assert tools.volumes(one.result).volumes_ml == one.volumes_ml
    maker.write_series(room / "scans" / "study", other.data[0, :20, :20, :12].astype(np.int16))
    forms = [tools.segment(Ask(scan="study", model="hippocampus", format=each), PredictObserver()) for each in FORMATS]
    assert [Path(one.result).name for one in forms] == ["study.nii.gz", "study-2.seg.dcm"]
    assert all(tools.verdict(one.result).unchanged for one in forms)


def test_what_a_series_is_called_is_in_no_remark_and_no_error(room: Path, maker: Any) -> None:
    voxels = np.zeros((8, 8, 6), np.int16)
    for number in (1, 2):
        tags = {"SeriesInstanceUID": f"1.2.840.{number}", "SeriesDescription": f'for Zebedee") {number}'}
        maker.write_series(room / "scans" / "two", voxels, names=[f"{number}{z}.dcm" for z in range(6)], **tags)
    (room / "scans" / "two" / "12.dcm").unlink()  # a gap, of which there are remarks
    tools = Tools(open_folders([room / "scans"], room / "results"), offered(["hippocampus"]))
    told = tools.describe_scan("two")
    assert any("1.2.840.1" in remark for remark in told.series[0].remarks)
    with pytest.raises(InputError, match=r"2 series; choose by UID: 1\.2\.840\.1 .*1\.2\.840\.2") as asked:
        tools.segment(Ask(scan="two", model="hippocampus"), PredictObserver())
    assert "Zebedee" not in told.model_dump_json() + str(asked.value)


def test_nothing_of_a_patient_is_told(talk: Callable[..., Any], room: Path, maker: Any) -> None:
    from pydicom import dcmread

    voxels = np.random.default_rng(0).integers(0, 900, (20, 22, 18)).astype(np.int16)
    maker.write_series(room / "scans" / "study", voxels)
    for path in sorted((room / "scans" / "study").iterdir()):
        file = dcmread(path)
        file.PatientName, file.PatientID = "Zebedee^Quentin", "PID-7741"
        file.SeriesDescription = file.StudyDescription = "for Zebedee"
        file.save_as(path)

    async def conversation(client: Client) -> list[Any]:
        described = await client.call_tool("describe_scan", {"path": "study"})
        asked = ASK | {"scan": "study", "format": "dicom-seg"}
        done = await client.call_tool("segment", asked)
        told = {"result": "study.seg.dcm"}
        return [described, done, *[await client.call_tool(tool, told) for tool in ("volumes", "verdict")]]

    told = talk(conversation)
    assert not any(one.is_error for one in told), [words(one) for one in told]
    assert told[0].structured_content["series"][0]["modality"] == "MR"
    everything = json.dumps([[words(one), one.structured_content] for one in told]).lower()
    assert not any(text in everything for text in ("zebedee", "quentin", "7741"))
