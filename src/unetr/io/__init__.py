"""Bytes <-> Volume. Reading never returns a silently wrong scan, writing never leaves a half-written one.

Importing this folder imports neither nibabel nor SimpleITK nor pydicom.
"""

from unetr.io.dicom.volume import is_dicom, read_dicom
from unetr.io.formats import FORMATS, Format, case_name, is_scan, scan_suffix
from unetr.io.scan import check_same_grid, header_affines, onto_grid, read_label, read_volume, write_volume

__all__ = [
    "FORMATS",
    "Format",
    "case_name",
    "check_same_grid",
    "header_affines",
    "is_dicom",
    "is_scan",
    "onto_grid",
    "read_dicom",
    "read_label",
    "read_volume",
    "scan_suffix",
    "write_volume",
]
