import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from h2aseg_nnunet.demo.picture import DrawnCase, draw_mips, mip_figure
from h2aseg_nnunet.errors import UserError

SHAPE, SPACING_MM = (6, 4, 5), (3.0, 2.0, 4.0)


def one_voxel(z, y, x):
    mask = np.zeros(SHAPE, np.uint8)
    mask[z, y, x] = 1
    return mask


def case(reference=(4, 1, 2), prediction=(4, 1, 2), name="patient"):
    return DrawnCase(name, one_voxel(4, 1, 2) * 7.0, one_voxel(*reference), one_voxel(*prediction), SPACING_MM)


def panels(figure):
    """The axes that hold a picture: neither the color bar nor an unused place."""
    return [axes for axes in figure.axes if axes.images]


def outlines(axes):
    """Smallest and largest (x, z) in millimeters of each outline."""
    boxes = [outline.get_paths()[0].get_extents() for outline in axes.collections]
    return [(box.min.tolist(), box.max.tolist()) for box in boxes]


def test_panels_have_the_patients_proportions():
    coronal, sagittal = panels(mip_figure([case()]))

    assert coronal.images[0].get_extent() == [0, 5 * 4, 0, 6 * 3]
    assert sagittal.images[0].get_extent() == [0, 4 * 2, 0, 6 * 3]
    assert coronal.get_aspect() == sagittal.get_aspect() == 1


def test_pet_is_projected_with_the_head_up_on_inverted_gray():
    coronal, sagittal = (axes.images[0] for axes in panels(mip_figure([case()])))

    assert np.argwhere(coronal.get_array() == 7).tolist() == [[4, 2]]
    assert np.argwhere(sagittal.get_array() == 7).tolist() == [[4, 1]]
    assert coronal.origin == "lower"
    assert coronal.get_clim() == (0, 10)
    assert coronal.cmap(0.0)[:3] == (1, 1, 1)


def test_outlines_touch_the_edges_of_their_voxel():
    coronal, sagittal = panels(mip_figure([case(reference=(4, 1, 2), prediction=(0, 3, 0))]))

    # Voxel (4, 1, 2) spans z 12 to 15, y 2 to 4 and x 8 to 12 mm; (0, 3, 0) lies in the image's corner.
    assert outlines(coronal) == [([8, 12], [12, 15]), ([0, 0], [4, 3])]
    assert outlines(sagittal) == [([2, 12], [4, 15]), ([6, 0], [8, 3])]


def test_empty_prediction_has_no_outline():
    nothing = case()._replace(prediction=np.zeros(SHAPE, np.uint8))
    assert [len(axes.collections) for axes in panels(mip_figure([nothing]))] == [1, 1]


def test_title_names_case_and_dice():
    half = case()._replace(prediction=one_voxel(4, 1, 2) + one_voxel(0, 0, 0) + one_voxel(0, 0, 1))
    coronal, _ = panels(mip_figure([half]))
    assert coronal.get_title(loc="left") == "patient  Dice 0.50"  # 2*1 / (1 + 3)


def test_five_cases_fill_two_rows_and_leave_the_rest_blank():
    figure = mip_figure([case(name=str(number)) for number in range(5)])
    assert len(panels(figure)) == 10
    assert sum(axes.axison for axes in figure.axes) == 10 + 1  # and the color bar


def test_picture_is_written(tmp_path):
    draw_mips([case()], tmp_path / "mips.png")

    assert [file.name for file in tmp_path.iterdir()] == ["mips.png"]
    picture = imread(tmp_path / "mips.png")
    assert picture.min() < 0.5 < picture.max()


def test_failing_to_write_leaves_the_old_picture_and_no_remains(tmp_path, monkeypatch):
    def write_half(self, file, **_):
        file.write_bytes(b"half")
        raise OSError("disk full")

    (tmp_path / "mips.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", write_half)

    with pytest.raises(UserError, match=r"mips\.png cannot be written: disk full"):
        draw_mips([case()], tmp_path / "mips.png")

    assert [file.name for file in tmp_path.iterdir()] == ["mips.png"]
    assert (tmp_path / "mips.png").read_bytes() == b"old"


def test_mask_of_another_shape_is_refused_and_nothing_written(tmp_path):
    misfit = case()._replace(prediction=np.zeros((6, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"patient: .*\(6, 4, 4\)"):
        draw_mips([misfit], tmp_path / "mips.png")
    assert not any(tmp_path.iterdir())


def test_no_cases_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cases is empty"):
        draw_mips([], tmp_path / "mips.png")
