"""OHIF in Chromium: its page is driven as a person does, and what it holds is read from its own services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.serve.chromium import running_chromium

_START_MS = 60_000
_HELD = """(id) => {
  const volume = services.segmentationService.getLabelmapVolume(id);
  return {dims: volume.dimensions, origin: volume.origin, direction: Array.from(volume.direction),
          spacing: volume.spacing, voxels: Array.from(volume.voxelManager.getCompleteScalarDataArray())};
}"""
_SHOW = """(modality) => {
  const found = services.displaySetService.getActiveDisplaySets().find((each) => each.Modality === modality);
  const {activeViewportId} = services.viewportGridService.getState();
  services.viewportGridService.setDisplaySetsForViewports(
    services.hangingProtocolService.getViewportsRequireUpdate(activeViewportId, found.displaySetInstanceUID));
}"""
_LABELMAP = """() => {
  const {imageIds, referencedImageIds} = services.segmentationService.getSegmentations()[0].representationData.Labelmap;
  return imageIds.map((id, index) => [referencedImageIds[index],
    Array.from(cornerstone.cache.getImage(id).voxelManager.getScalarData())]);
}"""
_CONTOURS = """() => {
  const {annotationUIDsMap} = services.segmentationService.getSegmentations()[0].representationData.Contour;
  return [...annotationUIDsMap].flatMap(([segment, uids]) => [...uids].map((uid) => {
    const found = cornerstoneTools.annotation.state.getAnnotation(uid);
    return [segment, found.metadata.referencedImageId, found.data.contour.polyline.map((point) => Array.from(point))];
  }));
}"""
_SEGMENTS = """() => Object.values(services.segmentationService.getSegmentations()[0].segments)
  .map((each) => [each.segmentIndex, each.label])"""
_GO_TO = """(uid) => {
  const viewport = services.cornerstoneViewportService.getCornerstoneViewport(
    services.viewportGridService.getState().activeViewportId);
  return viewport.setImageIdIndex(viewport.getImageIds().findIndex((id) => id.includes(uid)));
}"""


@dataclass(frozen=True)
class Ohif:
    """An open page. errors: what its console said of scripts that failed."""

    page: Any
    address: str
    errors: list[str]

    def run(self, study: str) -> tuple[np.ndarray, np.ndarray]:
        """Info, then Run, in MONAI Label's panel: the labels that the viewer holds [X, Y, Z], and their affine, RAS."""
        self.page.goto(f"{self.address}/ohif/monai-label?StudyInstanceUIDs={study}")
        server = self.page.locator("#monailabelServerURL")
        server.wait_for(timeout=_START_MS)
        assert server.input_value() == f"{self.address}/"
        server.locator("xpath=ancestor::tr").locator("button").click()
        self.page.get_by_text("Auto-Segmentation").wait_for(timeout=_START_MS)
        self.page.wait_for_function("services.segmentationService.getSegmentations().length > 0", timeout=_START_MS)
        self.page.locator("button[title='Run Segmentation']").click()
        self.page.get_by_text("Running Segmentation - Successful").wait_for(timeout=_START_MS)
        self.page.wait_for_timeout(500)
        held = self.page.evaluate(_HELD, "1")
        affine = np.eye(4)
        affine[:3, :3] = np.array(held["direction"]).reshape(3, 3).T * np.array(held["spacing"])
        affine[:3, 3] = held["origin"]
        voxels = np.array(held["voxels"], np.uint8).reshape(held["dims"][::-1]).T
        return voxels, np.diag([-1, -1, 1, 1]) @ affine

    def open(self, study: str, modality: str) -> dict[int, str]:
        """Shows the SEG or RTSTRUCT of a study; its segments by number."""
        self.page.goto(f"{self.address}/ohif/viewer?StudyInstanceUIDs={study}")
        self.page.wait_for_function(
            "(wanted) => window.services && services.displaySetService.getActiveDisplaySets()"
            ".some((each) => each.Modality === wanted)",
            arg=modality,
            timeout=_START_MS,
        )
        self.page.wait_for_timeout(3000)
        self.page.evaluate(_SHOW, modality)
        self.page.get_by_text("Do you want to open this Segmentation?").wait_for(timeout=_START_MS)
        self.page.locator("button:has-text('Yes')").first.click()
        self.page.wait_for_timeout(3000)
        return {int(number): str(label) for number, label in self.page.evaluate(_SEGMENTS)}

    def labelmap(self) -> dict[str, list[int]]:
        """Of the SEG that is shown: address of each slice -> its labels, row by row."""
        return dict(self.page.evaluate(_LABELMAP))

    def contours(self) -> list[tuple[int, str, np.ndarray]]:
        """Of the RTSTRUCT that is shown: segment, address of the slice, points [N, 3] in LPS mm."""
        return [(int(each[0]), each[1], np.array(each[2])) for each in self.page.evaluate(_CONTOURS)]

    def go_to(self, instance: str) -> None:
        """Shows the slice of this instance."""
        self.page.evaluate(_GO_TO, instance)
        self.page.wait_for_timeout(1500)

    def picture(self, path: Path) -> None:
        """Saves what is seen."""
        self.page.screenshot(path=path)


@contextmanager
def chromium(address: str) -> Iterator[Ohif]:
    """A page of Chromium that knows of nothing but the server. Skips where it is absent."""
    errors: list[str] = []
    with running_chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield Ohif(page, address, errors)
