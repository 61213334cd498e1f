"""Predicts held-out cases in a process of its own: `python -m h2aseg_nnunet.petct.compare.predict JSON`."""

import sys

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.petct.compare.heldout import Ensemble
from h2aseg_nnunet.petct.compare.train import choose_device
from h2aseg_nnunet.petct.evaluate import table
from h2aseg_nnunet.petct.evaluate.run import Settings, evaluate_folders


def carry_out(ensemble: Ensemble) -> None:
    """Predict with nnUNetv2_predict's default settings, but for mirroring, and evaluate.

    Raises:
        UserError: If the device is missing, or a prediction or reference cannot be evaluated.
    """
    run = ensemble.runs[0]
    device = choose_device(run.device)
    predictor = nnUNetPredictor(
        use_mirroring=ensemble.heldout.mirroring,
        perform_everything_on_device=device.type == "cuda",
        device=device,
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(run.model), tuple(each.fold for each in ensemble.runs))
    predictor.predict_from_files(
        ensemble.heldout.images,
        str(ensemble.folder),
        overwrite=True,  # files of a killed process may be incomplete
        num_processes_preprocessing=run.processes,
        num_processes_segmentation_export=run.processes,
    )
    evaluation = evaluate_folders(
        ensemble.heldout.references, ensemble.folder, Settings("autopet"), num_processes=run.processes
    )
    table.write_json(evaluation, ensemble.evaluation)


if __name__ == "__main__":
    carry_out(Ensemble.from_json(sys.argv[1]))
