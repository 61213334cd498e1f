"""Detection of lesions, at any overlap."""

from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate.detection import Detection, detect
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings, Pooled, Protocol


def lesions(arrays: CaseArrays, settings: MetricSettings) -> dict[str, float]:
    """Compute sensitivity, precision and F1 of lesions, and the counts they come from."""
    detection = detect(arrays.reference, arrays.prediction, settings.minimum_iou)
    return _scores(detection) | detection._asdict()


def _scores(detection: Detection) -> dict[str, float]:
    return {"sensitivity": detection.sensitivity, "precision": detection.precision, "F1": detection.f1}


def _together(counts: NDArray, cases: int) -> dict[str, float]:
    return _scores(Detection(*counts.tolist()))


PROTOCOLS = {"lesion": Protocol(lesions, pooled=(Pooled("pooled", Detection._fields, _together),))}
