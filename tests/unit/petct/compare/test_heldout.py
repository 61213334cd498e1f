import json
import os
from pathlib import Path

import pytest

from h2aseg_nnunet.petct.compare.heldout import Ensemble, is_predicted, is_trained, make_ensembles
from tests.unit.petct.compare.conftest import finish, make_heldout


def predict(ensemble: Ensemble) -> None:
    """What nnU-Net and the evaluation leave behind."""
    ensemble.folder.mkdir()
    record = {"list_of_lists_or_source_folder": ensemble.heldout.images}
    (ensemble.folder / "predict_from_raw_data_args.json").write_text(json.dumps(record))
    ensemble.evaluation.write_text("{}")


def test_all_folds_of_a_trainer_and_seed_predict_together(runs, heldout):
    made = runs(("A", "B"), folds=(2, 0), seeds=(0, 1))

    ensembles = make_ensembles(made, heldout)

    assert [(each.runs[0].trainer, each.runs[0].seed) for each in ensembles] == [("A", 0), ("B", 0), ("A", 1), ("B", 1)]
    assert [run.fold for run in ensembles[0].runs] == [0, 2]
    assert ensembles[0].folder == made[0].model / "predicted_Dataset1_here_imagesTs_folds_0_2"


def test_a_process_gets_its_ensemble_unchanged(runs, heldout):
    ensemble, _ = make_ensembles(runs(), heldout)

    assert Ensemble.from_json(ensemble.process()[-1]) == ensemble


def test_predictions_of_a_fold_that_was_trained_anew_are_made_again(runs, heldout):
    made = runs(("A",), folds=(0, 1))
    (ensemble,) = make_ensembles(made, heldout)
    finish(made[0], {"b": 0.5})
    assert not is_trained(ensemble)
    finish(made[1], {"c": 0.5})
    assert is_trained(ensemble)
    assert not is_predicted(ensemble)

    predict(ensemble)
    assert is_predicted(ensemble)
    later = ensemble.evaluation.stat().st_mtime + 1
    os.utime(made[1].evaluation, (later, later))

    assert not is_predicted(ensemble)


def test_a_reference_without_images_is_named(runs, heldout):
    Path(heldout.references, "b.nii.gz").touch()

    with pytest.raises(ValueError, match="lacks the images of b, which have references in"):
        make_ensembles(runs(), heldout)


def test_test_cases_of_another_dataset_are_not_taken_as_predicted(runs, heldout, tmp_path):
    made = runs(("A",), folds=(0,))
    finish(made[0], {"b": 0.5})
    (ensemble,) = make_ensembles(made, heldout)
    predict(ensemble)

    (other,) = make_ensembles(made, make_heldout(tmp_path / "Dataset2_there"))

    assert not is_predicted(other)
    assert is_predicted(ensemble)


def test_masks_of_somebody_else_are_not_replaced(runs, heldout):
    made = runs(("A",), folds=(0,))
    finish(made[0], {"b": 0.5})
    (ensemble,) = make_ensembles(made, heldout)
    ensemble.folder.mkdir()
    (ensemble.folder / "a.nii.gz").touch()

    with pytest.raises(ValueError, match="exists and is not a prediction by nnU-Net: choose another folder"):
        make_ensembles(made, heldout)


def test_predictions_without_mirroring_are_others(runs, heldout):
    made = runs(("A",), folds=(0,))

    (mirrored,), (plain,) = (make_ensembles(made, heldout._replace(mirroring=each)) for each in (True, False))

    assert mirrored.folder != plain.folder
    assert Ensemble.from_json(plain.process()[-1]) == plain


def test_predictions_of_images_elsewhere_are_never_replaced(runs, heldout, tmp_path):
    made = runs(("A",), folds=(0,))
    finish(made[0], {"b": 0.5})
    (ensemble,) = make_ensembles(made, heldout)
    predict(ensemble)

    with pytest.raises(ValueError, match=r"holds predictions of .*Dataset1_here.imagesTs, not of .*copy"):
        make_ensembles(made, make_heldout(tmp_path / "copy" / "Dataset1_here"))
