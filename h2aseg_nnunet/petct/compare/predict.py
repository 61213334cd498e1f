"""Predicts held-out cases in a process of its own: `python -m h2aseg_nnunet.petct.compare.predict JSON`."""

import sys

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.petct.compare.heldout import Ensemble
from h2aseg_nnunet.petct.evaluate import MetricSettings, evaluate_folders, table
from h2aseg_nnunet.petct.nnunet.models import load_predictor

CHECKPOINT = "checkpoint_final.pth"


def carry_out(ensemble: Ensemble) -> None:
    """Predict with nnUNetv2_predict's default settings, but for mirroring, and evaluate.

    Raises:
        UserError: If the device is missing, or a prediction or reference cannot be evaluated.
    """
    run, heldout = ensemble.runs[0], ensemble.heldout
    folds = [str(each.fold) for each in ensemble.runs]
    predictor = load_predictor(nnUNetPredictor, run.model, folds, CHECKPOINT, run.device, mirroring=heldout.mirroring)
    predictor.predict_from_files(
        heldout.images,
        str(ensemble.folder),
        overwrite=True,  # files of a killed process may be incomplete
        num_processes_preprocessing=run.processes,
        num_processes_segmentation_export=run.processes,
    )
    evaluation = evaluate_folders(
        heldout.references, ensemble.folder, MetricSettings("autopet"), num_processes=run.processes
    )
    table.write_json(evaluation, ensemble.evaluation)


if __name__ == "__main__":
    carry_out(Ensemble.from_json(sys.argv[1]))
