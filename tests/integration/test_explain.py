"""`h2aseg explain` with whole models."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from h2aseg_nnunet import cli
from h2aseg_nnunet.explain import ExplanationSettings, explain_cases, load_model
from h2aseg_nnunet.explain.maps import DecoderMaps, predict_maps
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.files import exclusively
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg_noTAMW
from tests.models import learn, make_network, make_plans, one_thread, registered, save_model  # noqa: F401
from tests.plans import DATASET_JSON, PLANS
from tests.synthetic import PHANTOM_CENTER_MM, write_phantom


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory):
    """Model folders by the modality that carries the tumor, each trained once."""
    folders: dict[int, Path] = {}

    def get(carrier: int) -> Path:
        if carrier not in folders:
            torch.set_num_threads(1)
            plans = make_plans()
            network = make_network(plans)
            learn(network, carrier)
            folders[carrier] = save_model(tmp_path_factory.mktemp("models") / f"model{carrier}", network, plans)
        return folders[carrier]

    return get


def read(file) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def run(model_folder, case, output, *options: str) -> int:
    settings = ["-step_size", "1", "-device", "cpu"]
    return cli.main(["explain", "-m", str(model_folder), "-i", str(case), "-o", str(output), *settings, *options])


def nnunet_prediction(model_folder, case, step_size=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities by nnU-Net itself, without mirroring."""
    predictor = nnUNetPredictor(step_size, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model_folder), (0,))
    files = [f"{case}_{channel:04d}.nii.gz" for channel in range(2)]
    image, properties = predictor.plans_manager.image_reader_writer_class().read_images(files)
    return predictor.predict_single_npy_array(image, properties, None, None, True)


@pytest.mark.parametrize(("carrier", "silent"), [("PET", "CT"), ("CT", "PET")])
def test_the_prediction_is_owed_to_the_modality_that_carries_the_tumor(trained_model, tmp_path, carrier, silent):
    """And everything about a case lies on its grid, where its tumor is."""
    model_folder = trained_model({"CT": CT, "PET": PET}[carrier])
    case = write_phantom(tmp_path / "images", {"CT": CT, "PET": PET}[carrier])

    assert run(model_folder, case, tmp_path / "out") == 0

    folder = tmp_path / "out" / "case"
    record = json.loads((folder / "explanation.json").read_text())
    owed = {name: record["attribution"][name]["mean_in_predicted_tumor"] for name in ("CT", "PET")}
    assert owed[carrier] > 0.5
    assert abs(owed[silent]) < 0.2

    labels, probabilities = nnunet_prediction(model_folder, case)
    np.testing.assert_array_equal(read(folder / "prediction.nii.gz"), labels)
    np.testing.assert_allclose(read(folder / "probability" / "stage1.nii.gz"), probabilities[1], atol=1e-6)
    maps = sorted(folder.rglob("*.nii.gz"))
    image = SimpleITK.ReadImage(f"{case}_0000.nii.gz")
    assert len(maps) == 1 + 3 + 4 + 12 + 2  # prediction, stages, TAMW, attention, attribution
    for file in maps:
        found = SimpleITK.ReadImage(str(file))
        assert (found.GetSize(), found.GetDirection()) == (image.GetSize(), image.GetDirection()), file.name
        np.testing.assert_allclose(found.GetSpacing() + found.GetOrigin(), image.GetSpacing() + image.GetOrigin())
        assert np.isfinite(SimpleITK.GetArrayFromImage(found)).all()
    centroid = np.argwhere(labels > 0).mean(0)[::-1]
    np.testing.assert_allclose(image.TransformContinuousIndexToPhysicalPoint(centroid), PHANTOM_CENTER_MM, atol=2)
    np.testing.assert_allclose(record["voxel"]["point_mm"], PHANTOM_CENTER_MM, atol=6)
    assert all(probability.max() <= 1 and probability.min() >= 0 for probability in map(read, folder.glob("prob*/*")))
    within = read(folder / "attention" / f"stage2_within_window_{carrier}_reads_{carrier}.nii.gz")
    assert within[tuple(record["voxel"]["index_xyz"][::-1])] > 0
    assert {file.name for file in folder.glob("*.png")} == {
        *("probability.png", "tamw.png", "attention.png", "attribution.png")
    }


@pytest.fixture
def no_figures(monkeypatch):
    """They take half of the time."""
    monkeypatch.setattr("h2aseg_nnunet.explain.run.draw_figures", lambda *arguments: None)


@pytest.fixture
def untrained(tmp_path):
    """Folder of a model with random weights, and a case."""
    plans = make_plans()
    return save_model(tmp_path / "model", make_network(plans), plans), write_phantom(tmp_path / "images")


def test_logits_with_maps_are_exactly_nnunets_and_every_window_counts_once(untrained, monkeypatch):
    """Also where nnU-Net is told to compile, which would pass hooks by."""
    model_folder, _ = untrained
    with monkeypatch.context() as patch:
        patch.setenv("nnUNet_compile", "t")
        model = load_model(model_folder, device="cpu", step_size=0.5)
    data = torch.randn(2, 20, 15, 30)  # one axis shorter than the patch
    stock = nnUNetPredictor(0.5, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    stock.initialize_from_trained_model_folder(str(model_folder), (0,))
    expected = stock.predict_sliding_window_return_logits(data)

    maps = predict_maps(model, data)
    once_more = model.predictor.predict_sliding_window_return_logits(data)

    assert torch.equal(maps.logits, expected)
    assert torch.equal(once_more, expected)
    assert all(volume.shape == data.shape[1:] for volume in (*maps.log_odds.values(), *maps.scales.values()))
    assert not any(module._forward_hooks for module in model.network.modules())


def test_an_interrupted_prediction_leaves_a_working_predictor(untrained, monkeypatch):
    model = load_model(untrained[0], device="cpu")
    data = torch.randn(2, 16, 16, 16)
    before = model.predictor.predict_sliding_window_return_logits(data)

    with monkeypatch.context() as patch:
        patch.setattr(DecoderMaps, "of_window", lambda self, window: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict_maps(model, data)

    assert torch.equal(model.predictor.predict_sliding_window_return_logits(data), before)
    assert not any(module._forward_hooks for module in model.network.modules())


def test_constant_gains_become_the_scale_they_stand_for(untrained):
    """w1 = 0.5 and w0 = 0.2 with p1 = 1 everywhere: factor 1.5."""
    model = load_model(untrained[0], device="cpu")
    network = model.network
    for stage in network.decoder.stages:
        for gains, value in ((stage.tamw.tumor_gains, 0.5), (stage.tamw.background_gains, 0.2)):
            torch.nn.init.zeros_(gains.fc2.weight)
            torch.nn.init.constant_(gains.fc2.bias, float(np.arctanh(value)))
    for head in network.decoder.seg_layers:
        torch.nn.init.zeros_(head.conv.weight)
        with torch.no_grad():
            head.conv.bias.copy_(torch.tensor([-15.0, 15.0]))

    maps = predict_maps(model, torch.randn(2, 20, 16, 24))

    for scale in maps.scales.values():
        torch.testing.assert_close(scale.float(), torch.full((20, 16, 24), 1.5), atol=1e-2, rtol=0)  # half precision
    for gains in maps.gains:
        assert gains.tumor == pytest.approx({"CT": 0.5, "PET": 0.5}, abs=1e-5)


REGIONS = DATASET_JSON | {
    "labels": {"background": 0, "whole": [1, 2], "core": [2]},
    "regions_class_order": [1, 2],
}
CLASSES = DATASET_JSON | {"labels": {"background": 0, "GTVp": 1, "GTVn": 2}}


@pytest.mark.parametrize(
    ("dataset", "changes"),
    [
        pytest.param(CLASSES, {}, id="classes"),
        pytest.param(REGIONS, {}, id="regions"),
        pytest.param(DATASET_JSON, {"dimension": 2}, id="2d"),
        pytest.param(DATASET_JSON, {"patch": 40}, id="image smaller than patch"),
        pytest.param(DATASET_JSON, {"transpose_forward": [1, 2, 0], "transpose_backward": [2, 0, 1]}, id="transposed"),
        pytest.param(DATASET_JSON, {"image_reader_writer": "SimpleITKIOWithReorient"}, id="reoriented"),
        pytest.param(DATASET_JSON, {"image_reader_writer": "NibabelIOWithReorient"}, id="reoriented by nibabel"),
    ],
)
def test_stage_1_is_nnunets_probability_for_every_kind_of_model(tmp_path, no_figures, dataset, changes):
    plans = make_plans(**changes)
    model_folder = save_model(tmp_path / "model", make_network(plans, dataset), plans, dataset)
    case = write_phantom(tmp_path / "images")

    model = load_model(model_folder, device="cpu", step_size=1)
    (folder,) = explain_cases(model, case, tmp_path / "out", ExplanationSettings(voxel_xyz=(9, 11, 6)))

    _, probabilities = nnunet_prediction(model_folder, case)
    expected = probabilities.max(0) if dataset is REGIONS else 1 - probabilities[0]
    if "Reorient" in str(changes):
        expected = expected[:, :, ::-1]  # read with x to the right; the file's runs to the left
    np.testing.assert_allclose(read(folder / "probability" / "stage1.nii.gz"), expected, atol=1e-5)
    reading = read(folder / "attention" / "stage2_within_window_PET_reads_CT.nii.gz")
    assert reading[6, 11, 9] > 0


def test_a_cascade_takes_the_previous_stages_segmentation_or_says_that_it_lacks(tmp_path, capsys, no_figures):
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    plans["configurations"]["3d_lowres"] = make_plans()["configurations"]["3d_fullres"]
    model_folder = save_model(tmp_path / "model", make_network(plans, num_input_channels=3), plans)
    case = write_phantom(tmp_path / "images")

    assert run(model_folder, case, tmp_path / "out") == 1
    assert "3d_lowres with -prev_stage_predictions" in capsys.readouterr().err
    assert not any((tmp_path / "out").glob("[!.]*"))

    image = SimpleITK.ReadImage(f"{case}_0001.nii.gz") > 1.5
    (tmp_path / "lowres").mkdir()
    SimpleITK.WriteImage(image, str(tmp_path / "lowres" / "case.nii.gz"))
    assert run(model_folder, case, tmp_path / "out", "-prev_stage_predictions", str(tmp_path / "lowres")) == 0


def test_without_a_predicted_tumor_the_most_probable_voxel_is_asked(tmp_path):
    plans = make_plans()
    network = make_network(plans)
    with torch.no_grad():
        network.decoder.seg_layers[-1].conv.bias[0] += 30
    model = load_model(save_model(tmp_path / "model", network, plans), device="cpu", step_size=1)

    (folder,) = explain_cases(model, write_phantom(tmp_path / "images"), tmp_path / "out")

    record = json.loads((folder / "explanation.json").read_text())
    assert record["predicted_volume_ml"] == 0
    assert record["attribution"]["PET"]["mean_in_predicted_tumor"] is None
    probability = read(folder / "probability" / "stage1.nii.gz")
    assert probability[tuple(record["voxel"]["index_xyz"][::-1])] == probability.max()


def test_a_network_without_tamw_is_explained_without(tmp_path, capsys):
    plans = make_plans()
    model_folder = save_model(
        tmp_path / "model",
        make_network(plans, trainer=nnUNetTrainerH2ASeg_noTAMW),
        plans,
        trainer="nnUNetTrainerH2ASeg_noTAMW",
    )
    case = write_phantom(tmp_path / "images")

    assert run(model_folder, case, tmp_path / "out") == 0

    assert "TAMW: none, the network was built without it" in capsys.readouterr().out
    folder = tmp_path / "out" / "case"
    assert json.loads((folder / "explanation.json").read_text())["tamw"] == []
    assert not list(folder.glob("tamw*"))
    assert {file.stem for file in folder.glob("*.png")} == {"probability", "attention", "attribution"}
    _, probabilities = nnunet_prediction(model_folder, case)
    np.testing.assert_allclose(read(folder / "probability" / "stage1.nii.gz"), probabilities[1], atol=1e-3)


def test_an_explanation_is_replaced_or_kept_but_nothing_else_is_touched(untrained, tmp_path, capsys, no_figures):
    model_folder, case = untrained
    folder = tmp_path / "out" / "case"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")

    assert run(model_folder, case, tmp_path / "out") == 1
    assert "is not an explanation" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").rglob("*")] == ["case", "thesis.txt"]
    with exclusively(tmp_path / "out" / ".other.lock"):
        assert run(model_folder, write_phantom(tmp_path / "images", name="other"), tmp_path / "out") == 1
    assert "another process works in" in capsys.readouterr().err

    (folder / "thesis.txt").unlink()
    assert run(model_folder, case, tmp_path / "out", "--voxel", "9", "11", "6") == 0
    first = json.loads((folder / "explanation.json").read_text())
    assert run(model_folder, case, tmp_path / "out", "--c", "--voxel", "10", "11", "6") == 0
    assert "explained before" in capsys.readouterr().out
    assert json.loads((folder / "explanation.json").read_text()) == first
    point = [str(mm) for mm in first["voxel"]["point_mm"]]
    (folder / "attention" / "notes.txt").write_text("mine")
    (folder / "tamw" / "stage9_CT.nii.gz").touch()
    with (folder / ".h2aseg_files").open("a") as record:
        record.write("tamw/stage9_CT.nii.gz\n")  # as if a deeper network had been explained before
    assert run(model_folder, case, tmp_path / "out", "--point", *point) == 0
    again = json.loads((folder / "explanation.json").read_text())
    assert again["voxel"]["index_xyz"] == first["voxel"]["index_xyz"] == [9, 11, 6]
    assert (folder / "attention" / "notes.txt").read_text() == "mine"
    assert not (folder / "tamw" / "stage9_CT.nii.gz").exists()
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [".case.lock", ".other.lock", "case"]


def test_an_explanation_of_an_earlier_version_is_replaced_and_no_more(untrained, tmp_path, no_figures):
    """It has no list of its files."""
    model_folder, case = untrained
    folder = tmp_path / "out" / "case"
    assert run(model_folder, case, tmp_path / "out") == 0
    (folder / ".h2aseg_files").unlink()
    for name in ("tamw/stage9_CT.nii.gz", "tamw/mine.nii.gz", "old.png"):
        (folder / name).touch()

    assert run(model_folder, case, tmp_path / "out") == 0

    assert not (folder / "tamw" / "stage9_CT.nii.gz").exists()
    assert (folder / "tamw" / "mine.nii.gz").exists() and (folder / "old.png").exists()


def test_somebody_elses_explanation_json_is_left_alone(untrained, tmp_path, capsys):
    model_folder, case = untrained
    file = tmp_path / "out" / "case" / "explanation.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"why": "mine"}')

    assert run(model_folder, case, tmp_path / "out", "--c") == 1

    assert "case exists and is not an explanation" in capsys.readouterr().err
    assert file.read_text() == '{"why": "mine"}'


def test_every_mistake_is_one_sentence_and_writes_nothing(untrained, tmp_path, capsys):
    model_folder, case = untrained
    write_phantom(tmp_path / "images", name="other")
    (tmp_path / "images" / "other_0001.nii.gz").unlink()
    write_phantom(tmp_path / "two", name="a")
    write_phantom(tmp_path / "two", name="b")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"

    for options, message in (
        ((tmp_path / "empty", case, out), "dataset.json and plans.json missing"),
        (
            (model_folder, case, out, "-f", "3"),
            "fold_3/checkpoint_final.pth does not exist; folds with that file: 0.",
        ),
        ((model_folder, tmp_path / "images" / "other", out), "other_0001.nii.gz missing"),
        ((model_folder, tmp_path / "empty", out), "holds no case"),
        ((model_folder, tmp_path / "two", out, "--voxel", "1", "1", "1"), "holds 2 cases"),
        ((model_folder, case, out, "--voxel", "99", "1", "1"), "outside the image of 26 x 22 x 18 voxels"),
        ((model_folder, case, out, "--voxel", "25", "1", "1"), "empty margin"),
        ((model_folder, case, out, "--voxel", "9", "9", "9", "--point", "0", "0", "0"), "not both"),
        ((model_folder, case, out, "-step_size", "1.5"), "-step_size 1.5"),
    ):
        capsys.readouterr()
        assert run(*options) == 1
        error = capsys.readouterr().err
        assert error.startswith("h2aseg explain: ") and message in error, error
        assert error.count("\n") == 1
        assert not any(out.glob("[!.]*"))


def test_a_model_of_another_trainer_is_refused_by_name(tmp_path, capsys):
    plans = PLANS
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    settings = (architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"])
    network = get_network_from_plans(*settings, 2, 2, deep_supervision=False)
    model_folder = save_model(tmp_path / "model", network, plans, trainer=nnUNetTrainer.__name__)

    assert run(model_folder, write_phantom(tmp_path / "images"), tmp_path / "out") == 1

    error = capsys.readouterr().err
    assert "trained by nnUNetTrainer: PlainConvUNet is not an H2ASeg network." in error and error.count("\n") == 1
