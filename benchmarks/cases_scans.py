"""What is right for each generator in `scans/`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pydicom
import SimpleITK

import unetr.io
from cases_tools import Check, Desk, Finding, Said, same_labels
from unetr.errors import UnetrError


def _read(path) -> np.ndarray | str:
    try:
        return unetr.io.read_volume(path).data
    except UnetrError as error:
        return str(error)


def _shape(found: np.ndarray | str) -> str:
    return found[:120] if isinstance(found, str) else f"read as {found.shape}"


def monochrome1(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/01_monochrome1.py")
    one, two = (desk.predict(desk.work / f"in/mono{i}", f"{i}.nii.gz") for i in (1, 2))
    same = same_labels(desk.work / "1.nii.gz", desk.work / "2.nii.gz")
    yield Finding("MONOCHROME1", two.code == 0 and (same or one.mentions("MONOCHROME1")), f"same labels: {same}")


def top_level_rescale(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/02_enhanced_top_level_rescale.py")
    found = _read(desk.work / "in/ct.dcm")
    right = isinstance(found, str) or (found.min(), found.max()) == (-1022, -885)
    yield Finding(
        "top-level rescale", right, _shape(found) if isinstance(found, str) else f"{found.min()} {found.max()}"
    )


def concatenation(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/03_concatenation.py")
    both, first = desk.predict(desk.work / "in/both", "b.nii.gz"), desk.predict(desk.work / "in/first_only", "f.nii.gz")
    joined = both.code == 0 and nib_shape(desk.work / "b.nii.gz")[2] == 35
    yield Finding("both parts", joined or (both.refused and both.mentions("part")), both.last())
    yield Finding("part 1 of 2", first.refused and first.mentions("part"), first.last())


def nib_shape(path) -> tuple[int, ...]:
    import nibabel as nib

    return nib.load(path).shape


def mixed_folder(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/04_mixed_folder.py")
    said = desk.predict(desk.work / "in", "out")
    report = (desk.work / "out/report.json").read_text() if (desk.work / "out/report.json").exists() else ""
    done = len(list((desk.work / "out").glob("*.nii.gz")))
    named = all(name in report or name in said.text for name in ("patA", "patB", "patC", "patD"))
    right = (said.code == 0 and done == 4) or (said.code == 3 and named)
    yield Finding("file, folder, zip, subfolder", right, f"{done} predicted, {said.last()}")


def nested_charset(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/05_nested_charset.py")
    for kind in ("explicit", "implicit"):
        for result in ("dicom-seg", "rtstruct"):
            out = desk.work / f"{kind}-{result}.dcm"
            said = desk.predict(desk.work / "in" / kind, out.name, "--format", result)
            right, came = said.code == 0, said.last()
            if right:
                bad = [str(e) for e in _texts(pydicom.dcmread(out)) if not _fine(e)]
                right, came = not bad, "; ".join(bad)[:120] or "every text as in the source"
            yield Finding(f"{kind}, {result}", right, came)


def _texts(dataset: pydicom.Dataset) -> Iterator[pydicom.DataElement]:
    for element in dataset.iterall():
        if element.VR in ("PN", "LO", "SH", "LT", "UT", "ST"):
            yield element


def _fine(element: pydicom.DataElement) -> bool:
    text = str(element.value)
    known = {"IssuerOfPatientID": "Zürich", "PatientName": "Käthe"}
    expected = known.get(element.keyword)
    return "\ufffd" not in text and (expected is None or text == expected or text == "")


def itk_label(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/06_itk_label.py")
    evaluated = desk.unetr("evaluate", desk.work / "in/pred", desk.work / "in/labels")
    yield Finding("evaluate", evaluated.code == 0 and evaluated.mentions("1.000"), evaluated.last())
    checked = desk.unetr("check", desk.work / "in")
    yield Finding("check", "affine" not in checked.text and not checked.traceback, checked.last())


def gzip_members(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/07_gzip_members.py")
    for name in ("scan.nii.gz", "scan.nrrd"):
        path = desk.work / "in" / name
        truth, found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T, _read(path)
        yield Finding(name, not isinstance(found, str) and np.array_equal(found[0], truth), _shape(found))
        whole = path.read_bytes()
        at = len(whole) - 40  # in the last member
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        found = _read(path)
        yield Finding(f"{name}, last member damaged", isinstance(found, str), _shape(found))


def excess_padding(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/08_excess_padding.py")
    for kind in ("native", "j2k"):
        said = desk.predict(desk.work / "in" / kind, f"{kind}.nii.gz")
        yield Finding(kind, said.code == 0, said.last())
    yield Finding("same labels", same_labels(desk.work / "native.nii.gz", desk.work / "j2k.nii.gz"), "")


def no_preamble(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/09_no_preamble.py")
    said = desk.predict(desk.work / "in/series", "o.nii.gz")
    yield Finding("series", said.code == 0 or (said.refused and said.mentions("preamble")), said.last())


def position_rounding(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/10_position_rounding.py")
    try:
        volume = unetr.io.read_volume(desk.work / "in/series")
        right = volume.shape[2] == 35 and abs(volume.spacing_mm[2] - 1.25) < 2e-3
        yield Finding("0.1 mm", right, f"{volume.shape}, {volume.spacing_mm[2]:.4f} mm")
    except UnetrError as error:
        yield Finding("0.1 mm", False, str(error)[:120])


def vector_files(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/11_vector_nifti.py")
    for name, channels in (("vector", 2), ("one_volume_4d", 1)):
        found = {end: _read(desk.work / f"in/{name}.{end}") for end in ("nii.gz", "nrrd", "mha")}
        for end, data in found.items():
            yield Finding(f"{name}.{end}", not isinstance(data, str) and len(data) == channels, _shape(data))


def alternating_echoes(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/12_alternating_echoes.py")
    said = desk.predict(desk.work / "in/series", "o.nii.gz")
    yield Finding("two echo times", said.refused and said.mentions("echo"), said.last())


def info_dicom(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/13_info_dicom.py")
    for name in ("series", "series.zip"):
        said = desk.unetr("info", desk.work / "in" / name)
        right = said.code == 0 and said.mentions("35") and not said.mentions("pickle") and "Phantom" not in said.text
        yield Finding(name, right, said.last())


def coregistered(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/14_spm_coregistered.py")
    scan = desk.work / "in/coregistered.nii.gz"
    said = desk.predict(scan, "o.nii.gz")
    yield Finding("no choice", said.refused and said.mentions("--transform"), said.last())
    for choice in ("qform", "sform"):
        said = desk.predict(scan, f"{choice}.nii.gz", "--transform", choice)
        yield Finding(f"--transform {choice}", said.code == 0, said.last())


def localizer(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/15_localizer.py")
    said: Said = desk.predict(desk.work / "in/series", "o.nii.gz")
    yield Finding("one localizer", said.refused or (said.code == 0 and said.mentions("left out")), said.last())


def spacing_tie(desk: Desk) -> Iterator[Finding]:
    desk.make("scans/16_spacing_tie.py")
    for end in ("nii.gz", "nrrd"):
        desk.predict(desk.work / f"in/scan.{end}", f"{end}.nii.gz")
    same = same_labels(desk.work / "nii.gz.nii.gz", desk.work / "nrrd.nii.gz")
    yield Finding("NIfTI and NRRD", same, "the same labels" if same else "other labels")


SCANS: dict[str, Check] = {
    "scans/01_monochrome1": monochrome1,
    "scans/02_enhanced_top_level_rescale": top_level_rescale,
    "scans/03_concatenation": concatenation,
    "scans/04_mixed_folder": mixed_folder,
    "scans/05_nested_charset": nested_charset,
    "scans/06_itk_label": itk_label,
    "scans/07_gzip_members": gzip_members,
    "scans/08_excess_padding": excess_padding,
    "scans/09_no_preamble": no_preamble,
    "scans/10_position_rounding": position_rounding,
    "scans/11_vector_nifti": vector_files,
    "scans/12_alternating_echoes": alternating_echoes,
    "scans/13_info_dicom": info_dicom,
    "scans/14_spm_coregistered": coregistered,
    "scans/15_localizer": localizer,
    "scans/16_spacing_tie": spacing_tie,
}
