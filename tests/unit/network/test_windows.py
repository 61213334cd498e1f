import pytest
import torch

from h2aseg_nnunet.network.windows import from_windows, to_windows, window_mask


def test_windows_of_a_2d_map_read_row_by_row():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)

    windows = to_windows(x, (2, 2)).squeeze(-1)

    assert windows.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]


def test_padding_fills_the_end_of_an_axis_and_is_masked():
    x = torch.tensor([[[[1.0, 2, 3]]]])

    assert to_windows(x, (1, 2)).squeeze(-1).tolist() == [[[1, 2], [3, 0]]]
    assert window_mask((1, 3), (1, 2), x.device).tolist() == [[[True, True], [True, False]]]


def test_no_mask_where_windows_divide_the_map():
    assert window_mask((4, 6), (2, 3), torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("size", "window"), [((6, 4), (3, 2)), ((7, 10), (8, 4)), ((4, 6, 2), (2, 3, 2)), ((7, 10, 13), (4, 8, 8))]
)
def test_windows_are_put_back_where_they_came_from(size, window):
    x = torch.randn(2, 3, *size)

    assert torch.equal(from_windows(to_windows(x, window), window, size), x)
