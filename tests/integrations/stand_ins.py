"""What the module asks of 3D Slicer, for tests without it: volumes are ITK's images, as in Slicer; widgets hold texts.

The numbering of segments follows vtkSlicerSegmentationsModuleLogic: a label map is imported value by value, and
segments are exported with numbers by position. Slicer itself is not run.
"""

from __future__ import annotations

import importlib.util
import sys
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import SimpleITK

MODULE = Path(__file__).resolve().parents[2] / "integrations" / "slicer" / "UnetrServe" / "UnetrServe.py"


_WIDGETS = (
    *("QLineEdit", "QComboBox", "QCheckBox", "QProgressBar", "QLabel", "QTableWidget", "QTableWidgetItem"),
    *("QPushButton", "QTimer", "QFormLayout", "QSettings"),
)


class StringArray(list[str]):
    """vtkStringArray."""

    def InsertNextValue(self, value: str) -> None:
        self.append(value)


class Node:
    """A volume or label map of the scene."""

    def __init__(self, image: SimpleITK.Image | None = None, name: str = "Doe^Jane") -> None:
        self.image, self.name = image, name

    def GetName(self) -> str:
        return self.name


class Segment:
    def __init__(self, mask: np.ndarray, value: int) -> None:
        self.mask, self.value, self.name, self.color = mask, value, f"Label_{value}", (0.0, 0.0, 0.0)

    def GetLabelValue(self) -> int:
        return self.value

    def GetName(self) -> str:
        return self.name

    def SetName(self, name: str) -> None:
        self.name = name

    def SetColor(self, red: float, green: float, blue: float) -> None:
        self.color = (red, green, blue)


class Segmentation:
    """A segmentation node and its segmentation in one."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.reference: Node | None = None

    def CreateDefaultDisplayNodes(self) -> None: ...

    def SetReferenceImageGeometryParameterFromVolumeNode(self, volume: Node) -> None:
        self.reference = volume

    def GetSegmentation(self) -> Segmentation:
        return self

    def GetNumberOfSegments(self) -> int:
        return len(self.segments)

    def GetNthSegment(self, index: int) -> Segment:
        return self.segments[index]

    def GetNthSegmentID(self, index: int) -> str:
        return str(index)

    def GetSegment(self, segment_id: str) -> Segment:
        return self.segments[int(segment_id)]


class Scene:
    def __init__(self) -> None:
        self.nodes: list[object] = []

    def AddNewNodeByClass(self, kind: str, name: str = "") -> Node | Segmentation:
        made = Segmentation() if kind == "vtkMRMLSegmentationNode" else Node(name=name)
        self.nodes.append(made)
        return made

    def RemoveNode(self, node: object) -> None:
        self.nodes.remove(node)


class SegmentationsLogic:
    def ImportLabelmapToSegmentationNode(self, labels: Node, segmentation: Segmentation) -> None:
        voxels = SimpleITK.GetArrayFromImage(labels.image)
        segmentation.image = labels.image  # type: ignore[attr-defined]
        segmentation.segments = [Segment(voxels == value, int(value)) for value in np.unique(voxels) if value]

    def ExportSegmentsToLabelmapNode(
        self, segmentation: Segmentation, ids: list[str], labels: Node, volume: Node, extent: object
    ) -> None:
        assert extent == "reference geometry" and volume.image is not None
        voxels = np.zeros(volume.image.GetSize()[::-1], np.int16)
        for position, each in enumerate(ids, start=1):
            voxels[segmentation.GetSegment(each).mask] = position
        labels.image = SimpleITK.GetImageFromArray(voxels)
        labels.image.CopyInformation(volume.image)


class Widget:
    """Any widget: remembers what it is told, and who listens."""

    Password = NoEditTriggers = 0

    def __init__(self, *_args: object) -> None:
        self.text = str(_args[0]) if _args else ""
        self.enabled, self.active, self.value, self.checked = True, False, 0, False
        self.items: list[str] = []
        self.cells: dict[tuple[int, int], str] = {}
        self.currentIndex, self.node = 0, None
        self.listener: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("set", "add", "insert")):
            return lambda *_: None
        raise AttributeError(name)

    def setText(self, text: str) -> None:
        self.text = text

    def setEnabled(self, enabled: bool) -> None:
        self.enabled = enabled

    def setValue(self, *value: Any) -> None:
        self.value = value[-1]

    def addItem(self, text: str) -> None:
        self.items.append(text)

    def clear(self) -> None:
        self.items.clear()

    def setItem(self, row: int, column: int, item: Widget) -> None:
        self.cells[row, column] = item.text

    def currentNode(self) -> Any:
        return self.node

    def connect(self, _signal: str, listener: Any) -> None:
        self.listener = listener

    def start(self) -> None:
        self.active = True

    def stop(self) -> None:
        self.active = False

    def isActive(self) -> bool:
        return self.active


class Base:
    def __init__(self, *_: object) -> None:
        self.layout = Widget()

    def setup(self) -> None: ...


def _load_label_volume(path: str) -> Node:
    node = Node(SimpleITK.ReadImage(path))
    slicer().mrmlScene.nodes.append(node)
    return node


def _save(node: Node, path: str, _properties: object = None) -> bool:
    SimpleITK.WriteImage(node.image, path)
    return True


def _update(node: Node, voxels: np.ndarray) -> None:
    made = SimpleITK.GetImageFromArray(voxels)
    made.CopyInformation(node.image)
    node.image = made


def slicer() -> Any:
    return sys.modules["slicer"]


def load_module(monkeypatch: Any, temporary: Path) -> ModuleType:
    """The module, with stand-ins for Slicer's own modules."""
    qt, made, base = ModuleType("qt"), ModuleType("slicer"), ModuleType("slicer.ScriptedLoadableModule")
    for name in _WIDGETS:
        setattr(qt, name, type(name, (Widget,), {}))
    logic = SegmentationsLogic()
    found: Any = made
    found.mrmlScene = Scene()
    found.app = SimpleNamespace(temporaryPath=str(temporary), processEvents=lambda: None)
    found.modules = SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: logic))
    found.vtkSegmentation = SimpleNamespace(EXTENT_REFERENCE_GEOMETRY="reference geometry")
    found.qMRMLNodeComboBox = Widget
    found.util = SimpleNamespace(
        saveNode=_save,
        loadLabelVolume=_load_label_volume,
        arrayFromVolume=lambda node: SimpleITK.GetArrayFromImage(node.image),
        updateVolumeFromArray=_update,
        settingsValue=lambda _name, default: default,
    )
    for name in ("ScriptedLoadableModule", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleWidget"):
        setattr(base, name, type(name, (Base,), {}))
    base.ScriptedLoadableModuleTest = unittest.TestCase  # type: ignore[attr-defined]
    vtk: Any = ModuleType("vtk")
    vtk.vtkStringArray = StringArray
    for module in (qt, vtk, made, base):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("UnetrServe", MODULE)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
