"""Every option of nnUNetv2_predict, and nnU-Net's Python predictor."""

import json
import shutil

import numpy as np
import pytest
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from scipy.special import softmax

from tests.integration.nnunet_workspace import SHORT
from tests.integration.tiny_datasets import SPACING_MM, read_probabilities, synthetic_case
from tests.synthetic import read_array, write_image

CASES = ["case_0", "case_1", "case_2"]  # case_1 alone is not on the plan's spacing
HALF = 2e-3  # nnU-Net accumulates logits in float16


@pytest.fixture(scope="module")
def dataset(workspace):
    """Binary labels; 3d_fullres trained on folds 0, 1 and all."""
    for fold in (0, 1):
        workspace.trained("binary", fold=fold)
    return workspace.trained("binary", fold="all")


@pytest.fixture(scope="module")
def images(workspace, dataset, tmp_path_factory):
    return workspace.images(dataset, CASES, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def predicted(workspace, dataset, images, tmp_path_factory):
    """Fold 0 predicts three cases in one run: what other ways to predict are compared with."""
    folder = tmp_path_factory.mktemp("predicted")
    workspace.predict(dataset, images, folder)
    return folder


@pytest.fixture
def predictor(workspace, dataset):
    def make(folds=("0",), **options) -> nnUNetPredictor:
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, **options)
        predictor.initialize_from_trained_model_folder(str(dataset.model()), folds)
        return predictor

    with workspace.environment():
        yield make


def patch_of_noise(predictor, scale=(1, 1, 1)) -> torch.Tensor:
    extents = np.multiply(predictor.configuration_manager.patch_size, scale)
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, *extents), np.float32))


def assert_same_folders(folder, expected):
    probabilities, reference = read_probabilities(folder), read_probabilities(expected)
    assert list(probabilities) == list(reference) != []
    for case in reference:
        np.testing.assert_array_equal(probabilities[case], reference[case])
        np.testing.assert_array_equal(read_array(folder / f"{case}.nii.gz"), read_array(expected / f"{case}.nii.gz"))


def test_saved_probabilities_sum_to_one_and_their_largest_is_the_label(predicted):
    probabilities = read_probabilities(predicted)

    assert list(probabilities) == CASES
    for case in CASES:
        assert probabilities[case].shape[0] == 2
        np.testing.assert_allclose(probabilities[case].sum(0), 1, atol=1e-5)
        np.testing.assert_array_equal(read_array(predicted / f"{case}.nii.gz"), probabilities[case].argmax(0))


def test_two_folds_predict_the_mean_of_their_logits(predictor):
    image = patch_of_noise(predictor(), scale=(1, 2, 1))

    first, second, both = (
        predictor(folds).predict_logits_from_preprocessed_data(image).float() for folds in (("0",), ("1",), ("0", "1"))
    )

    assert (first - second).abs().max() > 0.01
    torch.testing.assert_close(both, (first + second) / 2, atol=HALF, rtol=HALF)


def test_the_commands_two_folds_predict_the_softmax_of_mean_logits(workspace, dataset, images, predictor, tmp_path):
    case = CASES[0]  # nothing is resampled
    one = workspace.images(dataset, [case], tmp_path / "images")

    from_command = workspace.predict(dataset, one, tmp_path / "out", folds="0 1")[case]

    data, _, properties = preprocess(predictor(), images, case)
    logits = predictor(("0", "1")).predict_logits_from_preprocessed_data(data).float().numpy()
    inside = tuple(slice(*bounds) for bounds in properties["bbox_used_for_cropping"])
    np.testing.assert_allclose(from_command[(slice(None), *inside)], softmax(logits, 0), atol=HALF)


def preprocess(predictor, images, case):
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    files = [str(images / f"{case}_{channel:04d}.nii.gz") for channel in range(2)]
    settings = (predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json)
    data, seg, properties = preprocessor.run_case(files, None, *settings)
    return torch.from_numpy(data), seg, properties


def test_fold_all_has_weights_of_its_own_and_validates_every_case(workspace, dataset, images, predicted, tmp_path):
    probabilities = workspace.predict(dataset, images, tmp_path, folds="all")

    validation = read_probabilities(dataset.model() / "fold_all" / "validation")
    assert list(validation) == dataset.cases
    for case in CASES:
        np.testing.assert_array_equal(probabilities[case], validation[case])
        assert np.abs(probabilities[case] - read_probabilities(predicted)[case]).max() > 0.01


def test_mirroring_averages_the_logits_of_the_mirrored_images(predictor):
    image = patch_of_noise(predictor())
    with_mirroring = predictor(use_gaussian=False)
    without = predictor(use_gaussian=False, use_mirroring=False)  # --disable_tta
    assert with_mirroring.allowed_mirroring_axes == (0,)  # the trainer's, from the checkpoint
    network = without.network.eval()

    with torch.inference_mode():
        plain = network(image[None])[0]
        mirrored = network(image.flip(1)[None])[0].flip(1)

    assert (plain - mirrored).abs().max() > 0.01
    torch.testing.assert_close(logits(without, image), plain, atol=HALF, rtol=HALF)
    torch.testing.assert_close(logits(with_mirroring, image), (plain + mirrored) / 2, atol=HALF, rtol=HALF)


def logits(predictor, image) -> torch.Tensor:
    return predictor.predict_logits_from_preprocessed_data(image).float()


def test_the_command_without_mirroring_is_the_predictor_without(workspace, dataset, images, predicted, tmp_path):
    plain = workspace.predict(dataset, images, tmp_path / "plain", options="--disable_tta")
    mirrored = read_probabilities(predicted)

    assert all(np.abs(plain[case] - mirrored[case]).max() > 1e-3 for case in CASES)


def test_step_size_1_tiles_the_image_without_overlap(predictor):
    options = {"use_mirroring": False, "use_gaussian": False, "tile_step_size": 1.0}
    image = patch_of_noise(predictor(), scale=(1, 1, 2))
    half = image.shape[-1] // 2
    network = predictor().network.eval()

    with torch.inference_mode():
        tiles = [network(tile[None].contiguous())[0] for tile in image.split(half, dim=-1)]

    torch.testing.assert_close(logits(predictor(**options), image), torch.cat(tiles, -1), atol=HALF, rtol=HALF)


def test_the_commands_step_size_matters(workspace, dataset, images, predicted, tmp_path):
    coarse = workspace.predict(dataset, images, tmp_path, options="-step_size 1")
    fine = read_probabilities(predicted)

    assert all(np.abs(coarse[case] - fine[case]).max() > 1e-3 for case in CASES)


def test_parts_together_are_the_single_run(workspace, dataset, images, predicted, tmp_path):
    for part, cases in enumerate((CASES[0::2], CASES[1::2])):
        output = tmp_path / f"part_{part}"
        workspace.predict(dataset, images, output, options=f"-num_parts 2 -part_id {part}")
        assert sorted(read_probabilities(output)) == cases
        shutil.copytree(output, tmp_path / "union", dirs_exist_ok=True)

    assert_same_folders(tmp_path / "union", predicted)


def test_without_worker_processes_the_prediction_is_the_same(workspace, dataset, images, predicted, tmp_path):
    workspace.predict(dataset, images, tmp_path, options="-npp 0 -nps 0")

    assert_same_folders(tmp_path, predicted)


def test_continue_prediction_fills_what_is_missing_and_leaves_the_rest(workspace, dataset, images, predicted, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(predicted, output)
    kept, removed, _ = CASES
    (output / f"{removed}.nii.gz").unlink()
    (output / f"{kept}.npz").write_bytes(b"left alone")

    workspace.run(
        f"nnUNetv2_predict -d {dataset.id} -c 3d_fullres -f 0 -tr {SHORT} -device cpu "
        "-npp 1 -nps 1 --save_probabilities --continue_prediction",
        *("-i", images, "-o", output),
    )

    assert (output / f"{kept}.npz").read_bytes() == b"left alone"
    shutil.copy(predicted / f"{kept}.npz", output)
    assert_same_folders(output, predicted)


def test_numpy_input_predicts_what_the_files_do(images, predicted, predictor):
    case = CASES[1]
    files = [str(images / f"{case}_{channel:04d}.nii.gz") for channel in range(2)]
    image, properties = SimpleITKIO().read_images(files)
    expected = read_probabilities(predicted)[case]

    labels, probabilities = predictor().predict_single_npy_array(image, properties, None, None, True)
    ((labels_of_list, probabilities_of_list),) = predictor().predict_from_list_of_npy_arrays(
        [image], None, [properties], None, num_processes=1, save_probabilities=True, num_processes_segmentation_export=1
    )

    np.testing.assert_array_equal(probabilities, expected)
    np.testing.assert_array_equal(labels, expected.argmax(0))
    np.testing.assert_array_equal(probabilities_of_list, expected)
    np.testing.assert_array_equal(labels_of_list, labels)


def test_numpy_input_needs_nothing_but_its_spacing(images, predicted, predictor):
    case = CASES[1]
    image = np.stack([read_array(images / f"{case}_{channel:04d}.nii.gz") for channel in range(2)])

    labels = predictor().predict_single_npy_array(image, {"spacing": [5.0, 5.0, 5.0]})

    np.testing.assert_array_equal(labels, read_array(predicted / f"{case}.nii.gz"))


def test_an_image_smaller_than_the_patch_is_padded(workspace, dataset, predictor, tmp_path):
    patient = synthetic_case("binary", 0)
    smaller = tuple(slice(6, 6 + extent) for extent in (5, 7, 6))  # the patch is 8 x 8 x 10
    for channel, volume in enumerate((patient.ct, patient.pet)):
        write_image(tmp_path / "images" / f"small_{channel:04d}.nii.gz", volume[smaller], SPACING_MM)

    probabilities = workspace.predict(dataset, tmp_path / "images", tmp_path / "out")["small"]

    maker = predictor()
    data, *_ = preprocess(maker, tmp_path / "images", "small")
    padding = [(extent - n) for extent, n in zip(maker.configuration_manager.patch_size, data.shape[1:], strict=True)]
    before = [n // 2 for n in padding]
    padded = np.pad(data.numpy(), [(0, 0), *((b, n - b) for b, n in zip(before, padding, strict=True))])
    expected = logits(maker, torch.from_numpy(padded))
    inside = tuple(slice(b, b + n) for b, n in zip(before, data.shape[1:], strict=True))
    assert probabilities.shape == (2, 5, 7, 6)
    np.testing.assert_allclose(probabilities, softmax(expected.numpy(), 0)[(slice(None), *inside)], atol=HALF)


def test_a_case_without_its_pet_is_refused_with_the_cause(workspace, dataset, predictor, tmp_path):
    write_image(tmp_path / "images" / "ct_only_0000.nii.gz", synthetic_case("binary", 0).ct, SPACING_MM)

    with pytest.raises(ValueError, match="The input has 1 channels, but this H2ASeg was built for 2"):
        workspace.predict(dataset, tmp_path / "images", tmp_path / "out", options="-npp 0 -nps 0")


def test_the_settings_of_a_prediction_lie_beside_it(predicted, images):
    settings = json.loads((predicted / "predict_from_raw_data_args.json").read_text())

    assert settings["list_of_lists_or_source_folder"] == str(images)
    assert (predicted / "plans.json").is_file() and (predicted / "dataset.json").is_file()
