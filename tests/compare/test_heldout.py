import os
from pathlib import Path

import pytest

from h2aseg_nnunet.compare.heldout import Ensemble, is_predicted, is_trained, make_ensembles

from .conftest import finish


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    images, references = tmp_path / "imagesTs", tmp_path / "labelsTs"
    for file in (images / "a_0000.nii.gz", images / "a_0001.nii.gz", references / "a.nii.gz"):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return images, references


def test_all_folds_of_a_trainer_and_seed_predict_together(runs, folders):
    made = runs(("A", "B"), folds=(2, 0), seeds=(0, 1))

    ensembles = make_ensembles(made, *map(str, folders))

    assert [(each.runs[0].trainer, each.runs[0].seed) for each in ensembles] == [("A", 0), ("B", 0), ("A", 1), ("B", 1)]
    assert [run.fold for run in ensembles[0].runs] == [0, 2]
    assert ensembles[0].folder == made[0].model / "predicted_imagesTs_folds_0_2"


def test_a_process_gets_its_ensemble_unchanged(runs, folders):
    ensemble, _ = make_ensembles(runs(), *map(str, folders))

    assert Ensemble.from_json(ensemble.process()[-1]) == ensemble


def test_predictions_of_a_fold_that_was_trained_anew_are_made_again(runs, folders):
    made = runs(("A",), folds=(0, 1))
    (ensemble,) = make_ensembles(made, *map(str, folders))
    finish(made[0], {"b": 0.5})
    assert not is_trained(ensemble)
    finish(made[1], {"c": 0.5})
    assert is_trained(ensemble)
    assert not is_predicted(ensemble)

    ensemble.folder.mkdir()
    ensemble.evaluation.write_text("{}")
    assert is_predicted(ensemble)
    later = ensemble.evaluation.stat().st_mtime + 1
    os.utime(made[1].evaluation, (later, later))

    assert not is_predicted(ensemble)


def test_a_reference_without_images_is_named(runs, folders):
    images, references = folders
    (references / "b.nii.gz").touch()

    with pytest.raises(ValueError, match="lacks the images of b, which have references in"):
        make_ensembles(runs(), str(images), str(references))
