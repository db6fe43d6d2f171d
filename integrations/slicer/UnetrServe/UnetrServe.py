"""A 3D Slicer module that segments a volume with a server of unetr: `unetr serve`.

It needs nothing but Slicer: add its folder to Slicer's module paths. `Server` speaks HTTP and knows nothing of Slicer,
`UnetrServeLogic` moves volumes and segmentations, `UnetrServeWidget` is what a person sees.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

ADDRESS = "http://127.0.0.1:8000"
ENDED = ("written", "delivered", "failed", "cancelled")
_POLL_MS = 500
_TIMEOUT_S = 600
_PIECE = 1 << 20


class ServerError(Exception):
    """What went wrong, in words for people."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token never follows to another address."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


class Server:
    """A server of unetr. address: such as http://127.0.0.1:8000. token: where it needs one."""

    def __init__(self, address: str, token: str = "") -> None:
        found = urllib.parse.urlsplit(address.strip())
        if found.scheme not in ("http", "https") or not found.hostname:
            raise ServerError(f"'{address}' is no address of a server; expected one like {ADDRESS}")
        self._address = f"{found.scheme}://{found.netloc}"
        self._token = token.strip()
        # Only the server is asked, without a proxy in between.
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))

    def models(self) -> list:
        """The models: name, title, labels (name -> value), colours (name -> red, green, blue 0..255), channels."""
        return self._json("GET", "/api/models")["models"]

    def upload(self, path: Path) -> str:
        """Sends a volume; its id on the server. The name of the file is not sent."""
        with path.open("rb") as handle:
            return self._json("POST", "/api/scans", handle, path.stat().st_size)["id"]

    def submit(self, scan: str, model: str, tta: bool = False) -> dict:
        """Asks for a segmentation; the job."""
        return self._json("POST", "/api/jobs", {"scan": scan, "model": model, "settings": {"tta": tta}})

    def job(self, job: str) -> dict:
        """How a job stands: state, progress, summary, error."""
        return self._json("GET", f"/api/jobs/{job}")

    def cancel(self, job: str) -> dict:
        """Stops a job."""
        return self._json("DELETE", f"/api/jobs/{job}")

    def labels(self, job: str, path: Path) -> None:
        """Writes the label volume of a job, a NIfTI, to `path`."""
        with self._open("GET", f"/api/jobs/{job}/results/labels") as answer, path.open("wb") as handle:
            shutil.copyfileobj(answer, handle, _PIECE)

    def correct(self, job: str, path: Path) -> int:
        """Sends corrected labels, a volume on the same grid; the number of the correction."""
        with path.open("rb") as handle:
            return self._json("POST", f"/api/jobs/{job}/corrections", handle, path.stat().st_size)["number"]

    def _json(self, method: str, path: str, body=None, size: int = 0) -> dict:
        with self._open(method, path, body, size) as answer:
            return json.load(answer)

    def _open(self, method: str, path: str, body=None, size: int = 0):
        headers = {"Accept": "application/json, */*"}
        if isinstance(body, dict):
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif body is not None:
            headers.update({"Content-Type": "application/octet-stream", "Content-Length": str(size)})
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._address + path, body, headers, method=method)
        try:
            return self._opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            raise ServerError(_words(error)) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ServerError(f"{self._address} does not answer: {reason}. Is `unetr serve` running there?") from None


def _words(error: urllib.error.HTTPError) -> str:
    """What the server says went wrong."""
    try:
        told = json.loads(error.read())["error"]
        words = str(told["message"])
    except (ValueError, KeyError, TypeError):
        words = f"the server answers with status {error.code}"
    if error.code == 401:
        return f"{words}. Give a token that whoever runs the server has made."
    if error.code == 429:
        return f"{words}. Try again in a moment."
    return words


def verdict_words(summary: dict) -> str:
    """Whether the scan looks like those that the model has learned from."""
    verdict = summary.get("verdict") or {}
    warnings = verdict.get("warnings") or []
    if verdict.get("state") == "warned" or warnings:
        return "The scan is unlike those that the model has learned from: " + "; ".join(warnings)
    if verdict.get("state") != "ok":
        return "It is not known whether the model was made for scans like this one."
    return "The scan looks like those that the model has learned from."


def progress_words(job: dict) -> tuple[str, int]:
    """How a job stands, and percent."""
    progress = job.get("progress")
    if job["state"] == "running" and progress and progress["of"]:
        return f"segmenting: window {progress['done']} of {progress['of']}", 100 * progress["done"] // progress["of"]
    words = {"received": "waiting to be read", "ready": "waiting its turn", "running": "segmenting"}
    return words.get(job["state"], job["state"]), 100 if job["state"] in ENDED else 0


class UnetrServe(ScriptedLoadableModule):
    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "unetr"
        parent.categories = ["Segmentation"]
        parent.dependencies = []
        parent.contributors = ["The unetr developers"]
        parent.helpText = "Segments a volume with a server of unetr. Start one with: unetr serve"
        parent.acknowledgementText = ""


class UnetrServeLogic(ScriptedLoadableModuleLogic):
    """Volumes to the server and segmentations back. One job at a time."""

    def start(self, server: Server, volume, model: dict, tta: bool = False) -> dict:
        """Sends a volume and asks for its segmentation; the job."""
        with _Folder() as folder:
            path = folder / "volume.nrrd"
            if not slicer.util.saveNode(volume, str(path), {"useCompression": 0}):
                raise ServerError("the volume could not be written to a temporary file; is the disk full?")
            scan = server.upload(path)
        return server.submit(scan, model["name"], tta)

    def load(self, server: Server, job: str, volume, model: dict):
        """The segmentation of a job that has ended well, with names and colours."""
        with _Folder() as folder:
            path = folder / "labels.nii.gz"
            server.labels(job, path)
            labels = slicer.util.loadLabelVolume(str(path))
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volume.GetName()} labels")
        try:
            segmentation.CreateDefaultDisplayNodes()
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, segmentation)
            self._name(segmentation, model)
        except BaseException:  # one whose segments have no names, or those of others, is worse than none
            slicer.mrmlScene.RemoveNode(segmentation)
            raise
        finally:
            slicer.mrmlScene.RemoveNode(labels)
        return segmentation

    def _name(self, segmentation, model: dict) -> None:
        names = {value: name for name, value in model["labels"].items()}
        found = segmentation.GetSegmentation()
        for index in range(found.GetNumberOfSegments()):
            segment = found.GetNthSegment(index)
            value = segment.GetLabelValue()
            if value not in names:
                raise ServerError(f"the result has a label {value} that the model does not name; connect again")
            segment.SetName(names[value])
            segment.SetColor(*(part / 255 for part in model["colours"].get(names[value], (230, 159, 0))))

    def send_back(self, server: Server, job: str, segmentation, volume, model: dict) -> int:
        """Sends a corrected segmentation; the number of the correction. Segments bear names of the model's."""
        found = segmentation.GetSegmentation()
        ids = [found.GetNthSegmentID(index) for index in range(found.GetNumberOfSegments())]
        names = [found.GetSegment(each).GetName() for each in ids]
        unknown = [name for name in names if name not in model["labels"]]
        if unknown or len(set(names)) < len(names):
            expected = ", ".join(model["labels"])
            raise ServerError(f"segments are named {', '.join(names)}; expected each of these at most once: {expected}")
        exported = vtk.vtkStringArray()
        for each in ids:
            exported.InsertNextValue(each)
        labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        try:
            slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
                segmentation, exported, labels, volume, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
            )
            # Slicer numbers segments by their position.
            numbers = slicer.util.arrayFromVolume(labels)
            values = numbers.copy()
            for position, name in enumerate(names, start=1):
                values[numbers == position] = model["labels"][name]
            slicer.util.updateVolumeFromArray(labels, values)
            with _Folder() as folder:
                path = folder / "labels.nrrd"
                if not slicer.util.saveNode(labels, str(path)):
                    raise ServerError("the segmentation could not be written to a temporary file; is the disk full?")
                return server.correct(job, path)
        finally:
            slicer.mrmlScene.RemoveNode(labels)


class _Folder:
    """A private temporary folder, which is removed with all that Slicer has written into it."""

    def __enter__(self) -> Path:
        self._path = Path(tempfile.mkdtemp(prefix="unetr-", dir=slicer.app.temporaryPath))
        return self._path

    def __exit__(self, *_) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


class UnetrServeWidget(ScriptedLoadableModuleWidget):
    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = UnetrServeLogic()
        self.models, self.job, self.shown = [], None, None
        form = qt.QFormLayout()
        self.layout.addLayout(form)
        self.address = qt.QLineEdit(slicer.util.settingsValue("UnetrServe/address", ADDRESS))
        self.token = qt.QLineEdit()
        self.token.setEchoMode(qt.QLineEdit.Password)
        self.token.setPlaceholderText("only where the server needs one")
        self.volume = slicer.qMRMLNodeComboBox()
        self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volume.addEnabled = self.volume.removeEnabled = False
        self.volume.setMRMLScene(slicer.mrmlScene)
        self.model = qt.QComboBox()
        self.tta = qt.QCheckBox("also look at mirrored scans (slower, often better)")
        self.bar = qt.QProgressBar()
        self.status = qt.QLabel("Give the server's address, then connect.")
        self.status.setWordWrap(True)
        self.table = qt.QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["Label", "Volume (ml)", "Confidence"])
        self.table.setEditTriggers(qt.QTableWidget.NoEditTriggers)
        self.connect_button = self._button("Connect", self.on_connect)
        self.run_button = self._button("Segment", self.on_run)
        self.stop_button = self._button("Cancel", self.on_cancel)
        self.send_button = self._button("Send correction", self.on_send)
        for title, widget in (
            ("Server:", self.address),
            ("Token:", self.token),
            ("", self.connect_button),
            ("Volume:", self.volume),
            ("Model:", self.model),
            ("", self.tta),
            ("", self.run_button),
            ("", self.bar),
            ("", self.stop_button),
            ("", self.status),
            ("", self.table),
            ("", self.send_button),
        ):
            form.addRow(title, widget)
        self.layout.addStretch(1)
        self.timer = qt.QTimer()
        self.timer.setInterval(_POLL_MS)
        self.timer.connect("timeout()", self.on_poll)
        self._enable()

    def cleanup(self) -> None:
        self.timer.stop()

    def on_connect(self) -> None:
        with self._telling("Connecting..."):
            self.models = self._server().models()
            self.model.clear()
            for each in self.models:
                self.model.addItem(each["title"] or each["name"])
            qt.QSettings().setValue("UnetrServe/address", self.address.text)
            self._say(f"Connected: {len(self.models)} models.")

    def on_run(self) -> None:
        volume, index = self.volume.currentNode(), self.model.currentIndex
        if volume is None or not 0 <= index < len(self.models):
            self._say("Choose a volume and a model first.")
            return
        with self._telling("Sending the volume..."):
            server, model = self._server(), self.models[index]
            job = self.logic.start(server, volume, model, bool(self.tta.checked))
            self.job = {"id": job["id"], "server": server, "model": model, "volume": volume}
            self.shown = None
            self.timer.start()

    def on_poll(self) -> None:
        with self._telling():
            job = self.job["server"].job(self.job["id"])
            words, percent = progress_words(job)
            self.bar.setValue(percent)
            self._say(words)
            if job["state"] in ENDED:
                self.timer.stop()
                self._ended(job)

    def on_cancel(self) -> None:
        with self._telling("Cancelling..."):
            self.job["server"].cancel(self.job["id"])

    def on_send(self) -> None:
        with self._telling("Sending the correction..."):
            job = self.job
            number = self.logic.send_back(job["server"], job["id"], self.shown, job["volume"], job["model"])
            self._say(f"The server keeps it as correction {number}.")

    def _ended(self, job: dict) -> None:
        if job["state"] == "failed":
            raise ServerError((job.get("error") or {}).get("message", "the job failed"))
        if job["state"] == "cancelled":
            self._say("Cancelled.")
            return
        self.shown = self.logic.load(self.job["server"], job["id"], self.job["volume"], self.job["model"])
        summary = job["summary"]
        volumes, confidence = summary.get("volumes_ml", {}), summary.get("confidence", {})
        self.table.setRowCount(len(volumes))
        for row, (name, volume) in enumerate(volumes.items()):
            sure = confidence.get(name)
            told = (name, f"{volume:.2f}", "" if sure is None else f"{sure:.0%}")
            for column, text in enumerate(told):
                self.table.setItem(row, column, qt.QTableWidgetItem(text))
        self._say(verdict_words(summary))

    def _server(self) -> Server:
        return Server(self.address.text, self.token.text)

    def _button(self, text: str, clicked):
        button = qt.QPushButton(text)
        button.connect("clicked(bool)", lambda _checked=False: clicked())
        return button

    def _say(self, words: str) -> None:
        self.status.setText(words)

    def _enable(self) -> None:
        running = bool(self.timer.isActive())
        self.run_button.setEnabled(bool(self.models) and not running)
        self.connect_button.setEnabled(not running)
        self.stop_button.setEnabled(running)
        self.send_button.setEnabled(self.shown is not None and not running)

    def _telling(self, words: str = ""):
        return _Telling(self, words)


class _Telling:
    """While something is done: its words are shown, and what goes wrong afterwards. Whatever ends it ends polling."""

    def __init__(self, widget: UnetrServeWidget, words: str) -> None:
        self._widget, self._words = widget, words

    def __enter__(self) -> None:
        if self._words:
            self._widget._say(self._words)
            slicer.app.processEvents()

    def __exit__(self, kind, error, _trace) -> bool:
        if kind is not None:
            self._widget.timer.stop()
        if kind is not None and issubclass(kind, ServerError):
            self._widget._say(f"This did not work: {error}")
        self._widget._enable()
        return kind is not None and issubclass(kind, ServerError)


class UnetrServeTest(ScriptedLoadableModuleTest):
    """In Slicer, with a server at UNETR_SERVER (its token in UNETR_TOKEN): a made-up volume goes there and back."""

    def runTest(self) -> None:
        slicer.mrmlScene.Clear()
        self.test_words()
        if os.environ.get("UNETR_SERVER"):
            self.test_segmentation()
        self.delayDisplay("Test passed")

    def test_words(self) -> None:
        self.assertIn("unlike", verdict_words({"verdict": {"state": "warned", "warnings": ["it is smaller"]}}))
        self.assertIn("not known", verdict_words({"verdict": {"state": "unknown", "warnings": []}}))
        self.assertIn("not known", verdict_words({}))
        self.assertIn("looks like", verdict_words({"verdict": {"state": "ok"}}))
        self.assertEqual(progress_words({"state": "running", "progress": {"done": 1, "of": 4}})[1], 25)
        with self.assertRaises(ServerError):
            Server("127.0.0.1:8000")

    def test_segmentation(self) -> None:
        import time

        import numpy as np

        voxels = np.random.default_rng(0).normal(100, 30, (24, 28, 32)).astype("float32")
        volume = slicer.util.addVolumeFromArray(voxels)
        server, logic = Server(os.environ["UNETR_SERVER"], os.environ.get("UNETR_TOKEN", "")), UnetrServeLogic()
        model = server.models()[0]
        job = logic.start(server, volume, model)["id"]
        while server.job(job)["state"] not in ENDED:
            time.sleep(0.5)
        segmentation = logic.load(server, job, volume, model)
        self.assertGreater(logic.send_back(server, job, segmentation, volume, model), 0)
