"""Nuclides of PET and their half-lives: a header's half-life must be one of them, and that of the nuclide it names."""

import re

from pydicom.dataset import Dataset

from h2aseg_nnunet.petct.dicom.values import text_of, value_of

HALF_LIVES_S = {
    "C-11": 1221.8, "N-13": 597.9, "O-15": 122.24, "F-18": 6586.2, "K-38": 458.2, "Sc-43": 14008.0, "Sc-44": 14551.0,
    "Ti-45": 11088.0, "Mn-51": 2772.0, "Mn-52": 483062.0, "Fe-52": 29790.0, "Co-55": 63108.0, "Cu-60": 1422.0,
    "Cu-61": 12002.0, "Cu-62": 580.2, "Cu-64": 45721.0, "Ga-66": 34164.0, "Ga-68": 4062.6, "As-72": 93600.0,
    "Br-75": 5802.0, "Br-76": 58320.0, "Rb-82": 76.4, "Y-86": 53064.0, "Y-90": 230688.0, "Zr-89": 282280.0,
    "Nb-90": 52560.0, "Tc-94m": 3120.0, "I-122": 217.8, "I-124": 360806.0, "Tb-152": 63000.0,
}  # fmt: skip
TOLERANCE = 0.02
"""Headers round half-lives, and tables differ."""

SYMBOLS = {
    "carbon": "C", "nitrogen": "N", "oxygen": "O", "fluorine": "F", "potassium": "K", "scandium": "Sc",
    "titanium": "Ti", "manganese": "Mn", "iron": "Fe", "cobalt": "Co", "copper": "Cu", "gallium": "Ga",
    "arsenic": "As", "bromine": "Br", "rubidium": "Rb", "yttrium": "Y", "zirconium": "Zr", "niobium": "Nb",
    "technetium": "Tc", "iodine": "I", "terbium": "Tb",
}  # fmt: skip


def is_half_life(seconds: float, nuclide: str | None = None) -> bool:
    """Whether a half-life is that of a nuclide, or of any if none is given."""
    known = HALF_LIVES_S.values() if nuclide is None else [HALF_LIVES_S[nuclide]]
    return any(abs(seconds / each - 1) < TOLERANCE for each in known)


def nuclide_of(drug: Dataset) -> tuple[str, str] | None:
    """Find the nuclide that a radiopharmaceutical names.

    Args:
        drug: Item of Radiopharmaceutical Information Sequence.

    Returns:
        The nuclide, such as "F-18", and where it is named; None where none is named that is known.
    """
    texts = [
        (f"{name} {tag}", text_of(code, "CodeMeaning"))
        for name, tag in (
            ("RadionuclideCodeSequence", "(0054,0300)"),
            ("RadiopharmaceuticalCodeSequence", "(0054,0304)"),
        )
        for code in value_of(drug, name) or []
    ]
    for place, text in [*texts, ("Radiopharmaceutical (0018,0031)", text_of(drug, "Radiopharmaceutical"))]:
        masses, words = (
            re.findall(r"\d+m?(?![a-z])|\d+", text),
            re.findall(r"[A-Za-z]+", re.sub(r"\d+m\b|\d+", " ", text)),
        )
        for word in words:
            symbol = SYMBOLS.get(word.lower(), word)
            for mass in masses:
                if (nuclide := f"{symbol}-{mass}") in HALF_LIVES_S:
                    return nuclide, place
    return None
