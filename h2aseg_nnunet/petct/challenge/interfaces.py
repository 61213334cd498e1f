"""What each challenge delivers and wants, and its limits. Sources: docs/challenge.md."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Interface(NamedTuple):
    """Files of a challenge below /input and /output, as grand-challenge names them.

    Attributes:
        title: The challenge.
        mask: Folder of the mask.
        grid: "ct" or "pet": whose grid the mask must have.
        by_uuid: Whether the mask is named as the CT is; else "output".
        classes: Highest label; 1 makes every class tumor.
        inputs: Further inputs, which are not used and may be missing.
        others: Further outputs that must be there, by file.
        notes: What else to know, as sentences.
        limits: What the challenge allows, as sentences.
        seconds: Time limit of a case; None if it is not published.
        memory_gb: Memory in which a case must run; None if it is not published.
    """

    title: str
    mask: str
    grid: str
    by_uuid: bool
    classes: int
    inputs: tuple[str, ...] = ()
    others: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    seconds: float | None = None
    memory_gb: int | None = None


CT, PET = "images/ct", "images/pet"
"""Folders of the two images, in every challenge."""

INTERFACES = {
    "autopet3": Interface(
        "AutoPET III",
        "images/automated-petct-lesion-segmentation",
        grid="pet",
        by_uuid=True,
        classes=1,
        others={"data-centric-model.json": False},
        notes=("data-centric-model.json says that the model is not an entry of the data-centric category.",),
        limits=("The organizers' test script grants 30 GB of memory.",),
        memory_gb=30,
    ),
    "autopet4": Interface(
        "AutoPET IV, task 1",
        "images/tumor-lesion-segmentation",
        grid="pet",
        by_uuid=True,
        classes=1,
        inputs=("lesion-clicks.json",),
        notes=("Clicks are not used: every step of the interaction gets the same mask.",),
        limits=("The organizers' test script grants 30 GB of memory.",),
        memory_gb=30,
    ),
    "hecktor25": Interface(
        "HECKTOR 2025, task 1",
        "images/tumor-lymph-node-segmentation",
        grid="ct",
        by_uuid=False,
        classes=2,
        inputs=("ehr.json",),
        limits=("The image must not exceed 10 GB.",),
    ),
    "hecktor26": Interface(
        "HECKTOR 2026",
        "images/head-neck-tumor-segmentation",
        grid="ct",
        by_uuid=False,
        classes=2,
        inputs=("ehr.json",),
        others={"t-stage.json": "T2", "n-stage.json": "N0", "rfs.json": 0.0},
        notes=(
            "t-stage.json, n-stage.json and rfs.json hold the constants of the organizers' template, not predictions: "
            "the challenge demands the files, and a segmentation model has no answer. Replace them to be ranked there.",
        ),
        limits=(
            "A case must end within 25 minutes, with all of its outputs.",
            "The machine has an NVIDIA T4 with 16 GB, and 16 GB of memory.",
            "The image must not exceed 10 GB; weights are uploaded for themselves, as model.tar.gz.",
            "Nothing may be written but below /output and /tmp.",
        ),
        seconds=1500,
        memory_gb=16,
    ),
}
