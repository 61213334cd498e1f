import gzip

import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.evaluate.cases import EvaluatedCase, pair_files, require_pets
from h2aseg_nnunet.petct.evaluate.read import read_case
from h2aseg_nnunet.petct.images.masks import MaskValues
from h2aseg_nnunet.petct.labels import Declared, Labels

HECKTOR = Declared(Labels((0, 1, 2), {"GTVp": (1,), "GTVn": (2,)}), "HECKTOR")
FLIPPED_X = (-1, 0, 0, 0, 1, 0, 0, 0, 1)


def mask():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 2:4, 3:5] = 1
    return array


def noise():
    """Compresses badly, so that half of the file is half of the voxels."""
    return np.random.default_rng(0).integers(0, 2, (20, 20, 20), np.uint8)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_arrays_and_spacing_are_in_the_order_z_y_x(tmp_path, write, ending):
    file = write(tmp_path / f"case{ending}", mask(), spacing_mm=(1.0, 2.0, 5.0))

    arrays = read_case(EvaluatedCase("case", file, file))

    np.testing.assert_array_equal(arrays.reference, mask())
    np.testing.assert_array_equal(arrays.prediction, mask())
    assert arrays.spacing_mm == (5, 2, 1)
    assert arrays.suv is None


def test_a_missing_prediction_is_empty(tmp_path, write):
    arrays = read_case(EvaluatedCase("case", write(tmp_path / "case.nii.gz", mask())))

    assert arrays.prediction.shape == arrays.reference.shape
    assert not arrays.prediction.any()


@pytest.mark.parametrize(
    "other",
    [
        {"spacing_mm": (1.0, 1.0, 1.2)},
        {"origin_mm": (0.0, 0.5, 0.0)},
        {"direction": FLIPPED_X},
        {"array": np.zeros((4, 5, 7), np.uint8)},
    ],
    ids=["spacing", "origin", "direction", "size"],
)
def test_another_grid_is_refused_with_a_remedy(tmp_path, write, other):
    reference = write(tmp_path / "references" / "case.nii.gz", mask())
    prediction = write(tmp_path / "predictions" / "case.nii.gz", **({"array": mask()} | other))

    with pytest.raises(ValueError, match=r"predictions.*is not on the grid of .*references.*nearest neighbor"):
        read_case(EvaluatedCase("case", reference, prediction))


def test_headers_may_be_rounded(tmp_path, write):
    reference = write(tmp_path / "a.nii.gz", mask(), (2.0364201, 2.0364201, 3.0), (-406.28399658203125, 195.5, -602.5))
    prediction = write(tmp_path / "b.nii.gz", mask(), (2.03642, 2.03642, 3.0), (-406.284, 195.5, -602.5))

    read_case(EvaluatedCase("case", reference, prediction))


def test_pet_on_another_grid_is_refused(tmp_path, write):
    reference = write(tmp_path / "case.nii.gz", mask())
    pet = write(tmp_path / "case_0001.nii.gz", np.ones((4, 5, 6), np.float32), origin_mm=(3.0, 0.0, 0.0))

    with pytest.raises(ValueError, match="Bring the PET onto the masks' grid"):
        read_case(EvaluatedCase("case", reference, reference, pet))


def test_resampling_moves_a_prediction_by_its_physical_position(tmp_path, write):
    spacing_mm = (2.0, 3.0, 4.0)
    reference = write(tmp_path / "a.nii.gz", mask(), spacing_mm)
    wider = np.pad(mask(), ((1, 0), (0, 2), (2, 1)), constant_values=0)
    wider[0, 0, 0] = 1  # outside the reference's field of view
    prediction = write(tmp_path / "b.nii.gz", wider, spacing_mm, origin_mm=(-2 * 2.0, 0.0, -4.0))

    arrays = read_case(EvaluatedCase("case", reference, prediction), resample_prediction=True)

    np.testing.assert_array_equal(arrays.prediction, mask())


def test_resampling_is_nearest_neighbor_and_fills_with_background(tmp_path, write):
    reference = write(tmp_path / "a.nii.gz", mask())
    prediction = write(tmp_path / "b.nii.gz", 2 * np.ones((4, 5, 6), np.uint8), origin_mm=(0.4, 0.0, 2.0))

    arrays = read_case(EvaluatedCase("case", reference, prediction), resample_prediction=True)

    assert arrays.prediction[:2].max() == 0
    assert arrays.prediction[2:].min() == 2


def test_resampling_demands_equal_spacing(tmp_path, write):
    reference = write(tmp_path / "a.nii.gz", mask(), (1.0, 1.0, 1.0))
    prediction = write(tmp_path / "b.nii.gz", mask(), (1.0, 1.0, 1.00001))

    with pytest.raises(ValueError, match="HECKTOR demands equal spacing"):
        read_case(EvaluatedCase("case", reference, prediction), resample_prediction=True)


def test_labels_that_are_not_defined_are_refused(tmp_path, write):
    reference = write(tmp_path / "a.nii.gz", mask())
    prediction = write(tmp_path / "b.nii.gz", 3 * mask())

    with pytest.raises(ValueError, match=r"b\.nii\.gz holds the value 3 in 8 voxels; HECKTOR declares 0, 1, 2"):
        read_case(EvaluatedCase("case", reference, prediction), values=MaskValues(HECKTOR, HECKTOR))


def test_whole_numbers_stored_as_floats_are_labels(tmp_path, write):
    file = write(tmp_path / "a.nii.gz", mask().astype(np.float32))

    assert read_case(EvaluatedCase("case", file, file), values=MaskValues(HECKTOR, HECKTOR)).reference.max() == 1


@pytest.mark.parametrize(
    ("value", "words"), [(0.37, "holds the value 0.37 in 8 voxels; masks hold whole numbers"), (np.nan, "NaN")]
)
def test_a_probability_map_is_no_mask(tmp_path, write, value, words):
    reference = write(tmp_path / "a.nii.gz", mask())
    probabilities = write(tmp_path / "b.nii.gz", np.where(mask(), value, 0).astype(np.float32))

    with pytest.raises(ValueError, match=rf"b\.nii\.gz .*{words}"):
        read_case(EvaluatedCase("case", reference, probabilities))


def truncated_gzip(content):
    return content[: len(content) // 2]


def truncated_before_compression(content):
    nifti = gzip.decompress(content)
    return gzip.compress(nifti[: len(nifti) // 2])


def flipped_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def wrong_header(content):
    return gzip.compress(bytes(352) + gzip.decompress(content)[352:])


def other_file(content):
    return b'{"cases": 3}'


def zero_bytes(content):
    return b""


DAMAGES = [truncated_gzip, truncated_before_compression, flipped_bit, wrong_header, other_file, zero_bytes]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(tmp_path, write, damage):
    reference = write(tmp_path / "a.nii.gz", noise())
    prediction = write(tmp_path / "b.nii.gz", noise())
    prediction.write_bytes(damage(prediction.read_bytes()))

    with pytest.raises(ValueError, match=r"b\.nii\.gz"):
        read_case(EvaluatedCase("case", reference, prediction))


@pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
def test_half_a_file_of_another_format_is_named(tmp_path, write, ending):
    reference = write(tmp_path / "a.nii.gz", noise())
    prediction = write(tmp_path / f"b{ending}", noise())
    prediction.write_bytes(truncated_gzip(prediction.read_bytes()))

    with pytest.raises(ValueError, match=f"b{ending}"):
        read_case(EvaluatedCase("case", reference, prediction))


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_names_match_whatever_the_ending(tmp_path):
    references = touch(tmp_path / "labelsTr", "b.nii.gz", "a.mha")
    predictions = touch(tmp_path / "predictions", "a.nii.gz", "b.nrrd")

    pairing = pair_files(references, predictions)

    assert [(case.name, case.reference.name, case.prediction.name) for case in pairing.cases] == [
        ("a", "a.mha", "a.nii.gz"),
        ("b", "b.nii.gz", "b.nrrd"),
    ]


def test_what_nnunet_writes_beside_predictions_is_passed_over(tmp_path):
    names = ("case.nii.gz", "case.npz", "case.pkl", "dataset.json", "plans.json", "summary.json", "._case.nii.gz")

    assert list(images_in(touch(tmp_path / "predictions", *names))) == ["case"]


def test_points_in_a_name_belong_to_it(tmp_path):
    assert list(images_in(touch(tmp_path / "masks", "patient.1.nii.gz", "patient.1.2.NII"))) == [
        "patient.1.2",
        "patient.1",
    ]


def test_missing_and_extra_predictions_are_named(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz", "b.nii.gz")
    predictions = touch(tmp_path / "predictions", "b.nii.gz", "c.nii.gz")

    pairing = pair_files(references, predictions)

    assert pairing.missing_predictions == ["a"]
    assert pairing.extra_predictions == ["c"]


def test_pet_is_channel_1_of_nnunets_images(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz")
    images = touch(tmp_path / "imagesTr", "a_0000.nii.gz", "a_0001.nii.gz")

    (case,) = pair_files(references, references, images).cases

    assert case.pet.name == "a_0001.nii.gz"


def test_pet_may_be_named_like_the_case(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz")

    (case,) = pair_files(references, references, touch(tmp_path / "suv", "a.mha")).cases

    assert case.pet.name == "a.mha"


def test_in_a_flat_folder_a_case_does_not_take_the_pet_of_another(tmp_path):
    references = touch(tmp_path / "labels", "p.nii.gz", "p_0001.nii.gz")
    suv = touch(tmp_path / "suv", "p.nii.gz", "p_0001.nii.gz")

    pets = {case.name: case.pet.name for case in pair_files(references, references, suv).cases}

    assert pets == {"p": "p.nii.gz", "p_0001": "p_0001.nii.gz"}


def test_among_nnunets_images_a_case_without_pet_does_not_take_that_of_another(tmp_path):
    references = touch(tmp_path / "labels", "p.nii.gz", "p_0001.nii.gz")
    images = touch(tmp_path / "imagesTs", "p_0000.nii.gz", "p_0001.nii.gz", "p_0001_0000.nii.gz")

    pets = {case.name: case.pet and case.pet.name for case in pair_files(references, references, images).cases}

    assert pets == {"p": "p_0001.nii.gz", "p_0001": None}


def test_where_two_files_may_be_a_pet_neither_is_taken(tmp_path):
    references = touch(tmp_path / "labels", "p.nii.gz")

    with pytest.raises(UserError, match=r"p\.nii\.gz and p_0001\.nii\.gz, and either may be the PET of p"):
        pair_files(references, references, touch(tmp_path / "suv", "p.nii.gz", "p_0001.nii.gz"))


def test_a_missing_pet_is_named(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz", "b.nii.gz")
    suv = touch(tmp_path / "suv", "a.nii.gz")
    cases = pair_files(references, references, suv).cases

    require_pets(cases[:1], suv)
    with pytest.raises(ValueError, match=r"suv lacks the PET of b: expected are files such as b_0001\.nii\.gz"):
        require_pets(cases, suv)


def test_folders_without_a_common_name_are_a_mistake(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz")

    with pytest.raises(ValueError, match="there is a_0000, expected was"):
        pair_files(references, touch(tmp_path / "imagesTr", "a_0000.nii.gz"))


def test_one_case_in_two_formats_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match=r"a\.mha and a\.nii\.gz"):
        images_in(touch(tmp_path / "predictions", "a.nii.gz", "a.mha"))


def test_a_folder_that_is_none_or_empty_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        images_in(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="empty holds no image"):
        images_in(touch(tmp_path / "empty"))


def test_long_listings_are_cut():
    assert listing([f"case_{i}" for i in range(300)]).endswith("case_9 and 290 more")
    assert listing(["a", "b"]) == "a, b"
