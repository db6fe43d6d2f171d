"""Names of labels as codes: SNOMED CT where pydicom's dictionary of the standard has one, else our own scheme.

No code is written down here: the table has keywords of `pydicom.sr.codedict.codes.SCT`, which holds code and meaning.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from unetr.io.dicom.results.origin import short_text

OWN_SCHEME = "99UNETR"

_ANATOMY = "AnatomicalStructure"
_TISSUE = "Tissue"
_ABNORMAL = "MorphologicallyAbnormalStructure"
_SUBSTANCE = "BodySubstance"

# category -> keyword -> names, in lower case, words separated by a space, without side. British and American.
_KNOWN: dict[str, dict[str, tuple[str, ...]]] = {
    _ANATOMY: {
        "AdrenalGland": ("adrenal", "adrenal gland"),
        "Amygdala": ("amygdala",),
        "Aorta": ("aorta",),
        "Bladder": ("bladder", "urinary bladder"),
        "Brain": ("brain",),
        "BrainStem": ("brain stem", "brainstem"),
        "BrainVentricle": ("brain ventricle", "brain ventricles"),
        "CaudateNucleus": ("caudate", "caudate nucleus"),
        "Cerebellum": ("cerebellum",),
        "CerebralCortex": ("cerebral cortex",),
        "Clavicle": ("clavicle", "clavicula"),
        "Colon": ("colon",),
        "CorpusCallosum": ("corpus callosum",),
        "Duodenum": ("duodenum",),
        "Esophagus": ("esophagus", "oesophagus"),
        "Eye": ("eye",),
        "Femur": ("femur",),
        "FourthVentricle": ("fourth ventricle",),
        "Gallbladder": ("gallbladder", "gall bladder"),
        "GlobusPallidus": ("pallidum", "globus pallidus"),
        "Heart": ("heart",),
        "HepaticVein": ("hepatic vein", "hepatic veins"),
        "Hip": ("hip",),
        "Hippocampus": ("hippocampus",),
        "Humerus": ("humerus",),
        "InferiorVenaCava": ("inferior vena cava", "ivc"),
        "Kidney": ("kidney",),
        "LargeIntestine": ("large intestine", "large bowel"),
        "LateralVentricle": ("lateral ventricle",),
        "LeftAtrium": ("left atrium", "left heart atrium"),
        "LeftVentricle": ("left heart ventricle", "left ventricle of heart"),
        "LeftVentricleMyocardium": ("left ventricle myocardium", "left ventricular myocardium"),
        "Liver": ("liver",),
        "Lung": ("lung",),
        "LowerLobeOfLung": ("lung lower lobe", "lower lobe of lung"),
        "Mandible": ("mandible",),
        "NucleusAccumbens": ("accumbens", "nucleus accumbens"),
        "OpticChiasm": ("optic chiasm",),
        "OpticNerve": ("optic nerve",),
        "Pancreas": ("pancreas",),
        "ParotidGland": ("parotid", "parotid gland"),
        "Pericardium": ("pericardium",),
        "PortalVein": ("portal vein",),
        "Prostate": ("prostate",),
        "PulmonaryArtery": ("pulmonary artery",),
        "PulmonaryVein": ("pulmonary vein",),
        "Putamen": ("putamen",),
        "Rectum": ("rectum",),
        "RightAtrium": ("right atrium", "right heart atrium"),
        "RightVentricle": ("right heart ventricle", "right ventricle of heart"),
        "Sacrum": ("sacrum",),
        "Scapula": ("scapula",),
        "Skull": ("skull",),
        "SmallIntestine": ("small intestine", "small bowel"),
        "SpinalCord": ("spinal cord",),
        "Spleen": ("spleen",),
        "SplenicVein": ("splenic vein",),
        "Sternum": ("sternum",),
        "Stomach": ("stomach",),
        "SubmandibularGland": ("submandibular gland",),
        "SuperiorVenaCava": ("superior vena cava", "svc"),
        "Thalamus": ("thalamus",),
        "ThirdVentricle": ("third ventricle",),
        "Thyroid": ("thyroid", "thyroid gland"),
        "Trachea": ("trachea",),
        "UpperLobeOfLung": ("lung upper lobe", "upper lobe of lung"),
        "Ureter": ("ureter",),
        "Uterus": ("uterus",),
        "Vertebra": ("vertebra",),
    },
    _TISSUE: {
        "Bone": ("bone",),
        "CerebralWhiteMatter": ("cerebral white matter",),
        "Fat": ("fat", "adipose tissue"),
        "GrayMatter": ("gray matter", "grey matter", "gm"),
        "Muscle": ("muscle",),
        "Skin": ("skin",),
        "WhiteMatter": ("white matter", "wm"),
    },
    _ABNORMAL: {
        "Cyst": ("cyst",),
        "Edema": ("edema", "oedema"),
        "Hemorrhage": ("hemorrhage", "haemorrhage"),
        "Lesion": ("lesion", "lesions"),
        "Necrosis": ("necrosis",),
        "Neoplasm": ("tumor", "tumour", "neoplasm"),
        "Nodule": ("nodule",),
    },
    _SUBSTANCE: {"CerebrospinalFluid": ("csf", "cerebrospinal fluid")},
}
# Words at either end of a name that qualify it; "l", "r" would be too short to be sure of.
_QUALIFIERS = {"left": "Left", "right": "Right", "anterior": "Anterior", "posterior": "Posterior"}


@dataclass(frozen=True, slots=True)
class SegmentCode:
    """A label's name in codes. category: CID 7150; type: what it is; modifiers: side or part, as in CID 244."""

    category: Code
    type: Code
    modifiers: tuple[Code, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether the type is of our own coding scheme, since the standard's dictionary has no code for it."""
        return self.type.scheme_designator == OWN_SCHEME

    @property
    def is_anatomy(self) -> bool:
        """Whether it is known to be an anatomical structure."""
        return not self.is_own and self.category == _sct(_ANATOMY)


def segment_code(name: str) -> SegmentCode:
    """Codes for a label's name, such as "liver", "kidney_left" or "Left kidney".

    A name that is not known as a whole gets "Anatomical Structure" and a code of 99UNETR, derived from
    the name, with the name as its meaning: no guess is made from parts of it.
    """
    words = [word for word in re.split(r"[\s_\-,;.()/]+", name.lower()) if word]
    found = _lookup(words)
    if found:
        return found
    for at, rest in ((0, words[1:]), (-1, words[:-1])):
        qualifier = _QUALIFIERS.get(words[at]) if rest else None
        inner = segment_code(" ".join(rest)) if qualifier else None
        if inner and qualifier and not inner.is_own and not _has_side(inner, qualifier):
            return SegmentCode(inner.category, inner.type, (*inner.modifiers, _sct(qualifier)))
    digest = hashlib.sha256((" ".join(words) or name).encode()).hexdigest()[:12].upper()
    return SegmentCode(_sct(_ANATOMY), Code(digest, OWN_SCHEME, short_text(name) or "label"))


def _has_side(code: SegmentCode, qualifier: str) -> bool:
    """Whether a qualifier would be the second of its kind: "right left atrium" is no name."""
    meanings = " ".join([code.type.meaning, *(each.meaning for each in code.modifiers)]).lower().split()
    pair = {"left", "right"} if qualifier in ("Left", "Right") else {"anterior", "posterior"}
    return bool(pair & set(meanings))


def _lookup(words: list[str]) -> SegmentCode | None:
    name = " ".join(words)
    # Words in any order of the side: "atrium left" is in the table as "left atrium".
    turned = " ".join([*words[-1:], *words[:-1]]) if words and words[-1] in _QUALIFIERS else name
    for category, keywords in _KNOWN.items():
        for keyword, known in keywords.items():
            if name in known or turned in known:
                return SegmentCode(_sct(category), _sct(keyword))
    return None


def _sct(keyword: str) -> Code:
    code: Code = getattr(codes.SCT, keyword)
    return code
