"""What this node accepts by C-STORE: images that it reads, and results that it takes and lets go.

Images of other kinds are refused when the association is made, so that a modality never takes them for stored here.
Derived objects are what a PACS routes along with a study, and among them are our own results: they are acknowledged
and not kept, for a sender would try a refused one for ever. Nothing is made of them, so that no result makes another.
"""

from __future__ import annotations

from pynetdicom import ALL_TRANSFER_SYNTAXES, build_context, sop_class
from pynetdicom.presentation import PresentationContext

from unetr.io.dicom.series.head import IMAGE_CLASSES

# Uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000 and its high-throughput kind. No video, and nothing deflated.
_SYNTAXES = (
    *("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"),
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),
    *("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
    *("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"),
)
_VERIFICATION = "1.2.840.10008.1.1"
_DERIVED = (
    *("Segmentation", "SurfaceSegmentation", "LabelMapSegmentation", "HeightMapSegmentation", "ParametricMap"),
    *("RTStructureSet", "RealWorldValueMapping", "SpatialRegistration", "DeformableSpatialRegistration"),
    *(
        "BasicTextSR",
        "EnhancedSR",
        "ComprehensiveSR",
        "Comprehensive3DSR",
        "ExtensibleSR",
        "KeyObjectSelectionDocument",
    ),
    *(
        "KeyObjectSelectionDocument",
        "XRayRadiationDoseSR",
        "EnhancedXRayRadiationDoseSR",
        "RadiopharmaceuticalRadiationDoseSR",
    ),
    *("GrayscaleSoftcopyPresentationState", "ColorSoftcopyPresentationState"),
    *("BlendingSoftcopyPresentationState", "SpatialFiducials"),
    *("SecondaryCaptureImage", "MultiFrameSingleBitSecondaryCaptureImage"),
    *("MultiFrameGrayscaleByteSecondaryCaptureImage", "MultiFrameGrayscaleWordSecondaryCaptureImage"),
    *("MultiFrameTrueColorSecondaryCaptureImage", "EncapsulatedPDF"),
)
# Names that a version of pynetdicom does not know yet are left out.
DERIVED_CLASSES = frozenset(
    str(found) for name in _DERIVED if (found := getattr(sop_class, f"{name}Storage", None)) is not None
)


def contexts() -> list[PresentationContext]:
    """All presentation contexts that are accepted."""
    return [
        build_context(_VERIFICATION),
        *(build_context(uid, list(_SYNTAXES)) for uid in sorted(IMAGE_CLASSES)),
        *(build_context(uid, list(ALL_TRANSFER_SYNTAXES)) for uid in sorted(DERIVED_CLASSES)),
    ]
