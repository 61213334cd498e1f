"""Numbers of an explanation: what explanation.json holds, and the lines on the screen."""

from typing import Any

import numpy as np

from h2aseg_nnunet.explain.case import Case, Prediction
from h2aseg_nnunet.explain.gains import StageGains, as_text
from h2aseg_nnunet.explain.reading import Reading
from h2aseg_nnunet.explain.voxel import Voxel
from h2aseg_nnunet.network.readings import MODALITIES


def make_record(
    case: Case,
    gains: list[StageGains],
    prediction: Prediction,
    replaced: dict[str, Prediction],
    voxel: Voxel,
    readings: list[Reading],
) -> dict[str, Any]:
    """All numbers, ready for JSON.

    Args:
        case: What was explained.
        gains: Of TAMW.
        prediction: Of the case.
        replaced: Predictions with one modality replaced by its mean, by modality.
        voxel: Whose attention is shown.
        readings: What it read.
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
    """What a reader wants to know first."""
    text = [f"predicted tumour {record['predicted_volume_ml']:.1f} ml"]
    for name, attribution in record["attribution"].items():
        change = attribution["mean_in_predicted_tumor"]
        owed = "" if change is None else f"{change:+.2f} of the probability in it owed to {name}; "
        text.append(f"{owed}without {name} {attribution['predicted_volume_ml_without']:.1f} ml")
    return text + ([f"TAMW {as_text(each)}" for each in gains] or ["TAMW: none, the network was built without it"])


def _gains(gains: StageGains) -> dict[str, Any]:
    by_modality = {name: {"tumor": gains.tumor[name], "background": gains.background[name]} for name in MODALITIES}
    return {"stage": gains.stage} | by_modality | {"decoder": gains.decoder}


def _attribution(prediction: Prediction, replaced: Prediction) -> dict[str, Any]:
    tumor = prediction.tumor
    change = prediction.probabilities - replaced.probabilities
    return {
        "mean_in_predicted_tumor": float(change[tumor].mean()) if tumor.any() else None,
        "mean_absolute": float(np.abs(change).mean()),
        "predicted_volume_ml_without": replaced.volume_ml,
    }


def _voxel(voxel: Voxel, prediction: Prediction) -> dict[str, Any]:
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
