import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.lesions import compare_lesions
from h2aseg_nnunet.petct.images.grids import Grid, bring_onto, with_grid
from tests.unit.petct.convert.layouts import CT_GRID, arrange, convert, record
from tests.unit.petct.convert.synthetic_studies import write

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
FINE = Grid((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), STRAIGHT)
COARSE = Grid((5, 5, 5), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0), STRAIGHT)
"""Its voxel centers are those of FINE at 0, 4, 8, 12 and 16."""


def label_map(*boxes) -> SimpleITK.Image:
    """On FINE; a box is the value, then ranges of z, y and x."""
    values = np.zeros(FINE.size, np.uint8)
    for value, *ranges in boxes:
        values[tuple(slice(*span) for span in ranges)] = value
    return with_grid(SimpleITK.GetImageFromArray(values), FINE)


def compared(source: SimpleITK.Image, grid: Grid, **classes: tuple[int, ...]):
    return compare_lesions(source, bring_onto(source, grid, linear=False)[0], classes or {"tumor": (1,)})


def test_a_lesion_between_the_voxels_of_the_new_grid_is_counted_with_its_volume():
    """27 and 8 mm3; the second holds no center of a coarse voxel, the first the one at (4, 4, 4)."""
    lesions = compared(label_map((1, (3, 6), (3, 6), (3, 6)), (1, (9, 11), (9, 11), (9, 11))), COARSE)

    assert lesions.counts == {"tumor": {"source": 2, "converted": 1, "lost": 1}}
    assert lesions.ml == {"tumor": {"source": 0.035, "converted": 0.064}}
    assert lesions.warnings == [
        "0.01 ml of tumor are lost on the new grid: 1 of 2 lesions have no voxel left; lesions 2 (0.04 ml) before, "
        "1 (0.06 ml) after"
    ]


def test_a_loss_is_told_even_where_another_lesion_breaks_in_two():
    """A beam from x = 0 to 8 with a bridge that no coarse center meets becomes two; a second lesion vanishes."""
    beam = [(1, (0, 1), (0, 1), (0, 3)), (1, (1, 2), (0, 1), (2, 8)), (1, (0, 1), (0, 1), (7, 9))]
    lesions = compared(label_map(*beam, (1, (9, 11), (9, 11), (9, 11))), COARSE)

    assert lesions.counts == {"tumor": {"source": 2, "converted": 2, "lost": 1}}
    assert "1 of 2 lesions have no voxel left" in lesions.warnings[0]


def test_lesions_that_join_are_told():
    """Two slabs, one coarse voxel apart at x = 4 and 8, are neighbors on the coarse grid."""
    lesions = compared(label_map((1, (0, 5), (0, 5), (3, 5)), (1, (0, 5), (0, 5), (7, 9))), COARSE)

    assert lesions.counts == {"tumor": {"source": 2, "converted": 1, "lost": 0}}
    assert lesions.warnings == ["lesions of tumor join or break on the new grid: 2 (0.10 ml) before, 1 (0.51 ml) after"]


def test_each_label_is_counted_by_itself_and_the_ignore_label_is_none():
    nodes = [(2, (3, 6), (0, 3), (0, 3)), (2, (9, 11), (9, 11), (9, 11))]
    source = label_map((1, (0, 3), (0, 3), (0, 3)), *nodes, (3, (15, 16), (0, 9), (0, 9)))
    lesions = compared(source, COARSE, GTVp=(1,), GTVn=(2,))

    assert lesions.counts == {
        "GTVp": {"source": 1, "converted": 1, "lost": 0},
        "GTVn": {"source": 2, "converted": 1, "lost": 1},
    }
    assert [warning.split(" are lost")[0] for warning in lesions.warnings] == ["0.01 ml of GTVn"]


def test_nothing_is_said_where_nothing_changes():
    source = label_map((1, (3, 6), (3, 6), (3, 6)))

    lesions = compared(source, FINE)

    assert lesions.counts == {"tumor": {"source": 1, "converted": 1, "lost": 0}}
    assert lesions.ml == {"tumor": {"source": 0.027, "converted": 0.027}}
    assert lesions.warnings == []


def test_a_lesion_outside_the_region_is_lost_and_told():
    source = label_map((1, (0, 3), (0, 3), (0, 3)), (1, (15, 18), (0, 3), (0, 3)))

    lesions = compared(source, FINE.crop((0, 0, 0), (20, 20, 10)))

    assert lesions.counts == {"tumor": {"source": 2, "converted": 1, "lost": 1}}
    assert lesions.warnings[0] == "0.03 of 0.05 ml of the label lie outside the region converted"
    assert "1 of 2 lesions have no voxel left" in lesions.warnings[1]


def test_a_label_that_lies_outside_altogether_is_refused():
    with pytest.raises(UserError, match=r"All 0\.03 ml of the label lie outside"):
        compared(label_map((1, (15, 18), (0, 3), (0, 3))), FINE.crop((0, 0, 0), (20, 20, 10)))


def test_a_conversion_records_and_tells_what_vanishes(nnunet, capsys):
    command = arrange("pairs", nnunet / "source", CT_GRID, CT_GRID)
    values = np.zeros(CT_GRID.size[::-1], np.uint8)
    values[4:12, 4:12, 4:12] = 1
    values[15, 15, 15] = 1
    write(values, CT_GRID, nnunet / "source" / "one" / "label.nii")

    assert convert(*command, "--spacing", 8) == 0

    assert record(nnunet)["cases"]["one"]["lesions"] == {"tumor": {"source": 2, "converted": 1, "lost": 1}}
    assert (
        "one: 0.01 ml of tumor are lost on the new grid: 1 of 2 lesions have no voxel left" in capsys.readouterr().out
    )
