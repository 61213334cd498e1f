import matplotlib.image
import matplotlib.pyplot

from h2aseg_nnunet.petct import plots


def test_a_picture_has_its_size_in_inches_times_the_resolution(tmp_path):
    picture = plots.figure(3, 2)
    picture.subplots().plot([0, 1], color=plots.BLUE)

    plots.save(picture, tmp_path / "new folder" / "picture.png", dpi=50)

    pixels = matplotlib.image.imread(tmp_path / "new folder" / "picture.png")
    assert pixels.shape[:2] == (100, 150)
    assert pixels.min() < 0.5


def test_no_figure_is_left_with_pyplot():
    plots.figure(1, 1)

    assert matplotlib.pyplot.get_fignums() == []
