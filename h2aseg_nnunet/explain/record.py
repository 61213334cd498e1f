"""The record of an explanation: its folder, the numbers of explanation.json, and the lines on the screen."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from h2aseg_nnunet.explain.attention import Reading
from h2aseg_nnunet.explain.case import CasePrediction, ExplainedCase, Voxel
from h2aseg_nnunet.network.readings import MODALITIES, StageGains
from h2aseg_nnunet.petct.files import OutputFolder, exclusively, write_json
from h2aseg_nnunet.petct.own_files import OwnFiles

RECORD = "explanation.json"
"""Written into every case's folder, as its last file: where it is, an explanation is complete."""

PATTERNS = (
    *(RECORD, "prediction.nii.gz", "probability/stage*.nii.gz", "tamw/stage*.nii.gz", "attention/stage*.nii.gz"),
    *("attribution/CT.nii.gz", "attribution/PET.nii.gz"),
    *("probability.png", "tamw.png", "attribution.png", "attention.png"),
)
"""Files of an explanation by an earlier version, which kept no list of them."""


def explanation_folder(folder: Path) -> OutputFolder:
    """Return a case's folder, which is ours if its record is."""
    return OutputFolder(folder, RECORD, "an explanation", keys=("case", "attribution"))


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` whose files take their places there on success, the record last.

    Files of an earlier explanation go; what anybody else wrote into the folder stays.

    Raises:
        UserError: If `folder` holds something else than an explanation, or another process explains the case.
    """
    own = OwnFiles(folder)
    if not own.exist and explanation_folder(folder).require_own() is not None:
        own.adopt(PATTERNS)
    temporary = folder.with_name(f".{folder.name}.partial")
    with exclusively(folder.with_name(f".{folder.name}.lock")):
        OutputFolder(temporary, RECORD, "an unfinished explanation").require_own()
        shutil.rmtree(temporary, ignore_errors=True)  # of a killed run
        try:
            write_json(temporary / RECORD, {})
            yield temporary
            own.take(temporary, last=RECORD)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def make_record(
    case: ExplainedCase,
    gains: list[StageGains],
    prediction: CasePrediction,
    replaced: dict[str, CasePrediction],
    voxel: Voxel,
    readings: list[Reading],
) -> dict[str, Any]:
    """Collect all numbers, ready for JSON.

    Args:
        case: The explained case.
        gains: Mean gains of TAMW.
        prediction: The prediction of the case.
        replaced: Predictions with one modality replaced by its mean, by modality.
        voxel: The voxel whose attention is shown.
        readings: What that voxel read.
    """
    model = case.model
    return {
        "case": case.name,
        "model": str(model.folder),
        "fold": model.fold,
        "checkpoint": model.checkpoint,
        "trainer": model.predictor.trainer_name,
        "step_size": model.predictor.tile_step_size,
        "mirroring": False,
        "predicted_volume_ml": prediction.volume_ml,
        "tamw": [_gains(each) for each in gains],
        "attribution": {name: _attribution(prediction, other) for name, other in replaced.items()},
        "voxel": _voxel(voxel, prediction),
        "attention": [_reading(each) for each in readings],
    }


def lines(record: dict[str, Any], gains: list[StageGains]) -> list[str]:
    """Return the lines that a reader wants to see first."""
    text = [f"predicted tumor {record['predicted_volume_ml']:.1f} ml"]
    for name, attribution in record["attribution"].items():
        change = attribution["mean_in_predicted_tumor"]
        owed = "" if change is None else f"{change:+.2f} of the probability in it owed to {name}; "
        text.append(f"{owed}without {name} {attribution['predicted_volume_ml_without']:.1f} ml")
    return text + ([f"TAMW {_gains_line(each)}" for each in gains] or ["TAMW: none, the network was built without it"])


def _gains_line(gains: StageGains) -> str:
    parts = [
        f"{name} {gains.tumor[name]:+.1%} in tumor, {gains.background[name]:+.1%} in background" for name in MODALITIES
    ]
    return f"stage {gains.stage}: {'; '.join(parts)}"


def _gains(gains: StageGains) -> dict[str, Any]:
    by_modality = {name: {"tumor": gains.tumor[name], "background": gains.background[name]} for name in MODALITIES}
    return {"stage": gains.stage} | by_modality | {"decoder": gains.decoder}


def _attribution(prediction: CasePrediction, replaced: CasePrediction) -> dict[str, Any]:
    tumor = prediction.tumor
    change = prediction.probabilities - replaced.probabilities
    return {
        "mean_in_predicted_tumor": float(change[tumor].mean()) if tumor.any() else None,
        "mean_absolute": float(np.abs(change).mean()),
        "predicted_volume_ml_without": replaced.volume_ml,
    }


def _voxel(voxel: Voxel, prediction: CasePrediction) -> dict[str, Any]:
    probability = float(prediction.probabilities[voxel.index_xyz[::-1]])
    return voxel._asdict() | {"tumor_probability": probability}


def _reading(reading: Reading) -> dict[str, Any]:
    attention = reading.attention
    return {
        "map": attention.name,
        "stage": attention.stage,
        "span": attention.span,
        "reader": attention.reader,
        "source": attention.source,
        "share_in_predicted_tumor": reading.share_in_tumor,
        "predicted_tumor_share": reading.tumor_share,
    }
