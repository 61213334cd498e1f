import pytest

from h2aseg_nnunet.network.layout import (
    default_interactions,
    default_window_size,
    lay_out_attention,
    stage_sizes,
)


def test_published_patch_gives_the_published_layout():
    interactions = default_interactions((128, 128, 64), [[1, 1, 1]] + [[2, 2, 2]] * 4)

    assert interactions == ["none", "mcsa", "mcsa", "global", "global"]


@pytest.mark.parametrize(
    ("patch_size", "strides", "interactions"),
    [
        # nnU-Net's default 3D plan: 64^3, 32^3, 16^3 = 4096, ...
        ((128, 128, 128), [[1, 1, 1]] + [[2, 2, 2]] * 5, ["none", "mcsa", "mcsa", "global", "global", "global"]),
        # first axis stops pooling: 28 x 128 x 128, 28 x 64 x 64, 14 x 32 x 32, 7 x 16 x 16
        (
            (28, 256, 256),
            [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2]],
            ["none", "mcsa", "mcsa", "mcsa", "global"],
        ),
        # 2D: 256^2, 128^2, 64^2 = 4096
        ((512, 512), [[1, 1]] + [[2, 2]] * 3, ["none", "mcsa", "mcsa", "global"]),
    ],
)
def test_attention_is_global_from_4096_positions_down(patch_size, strides, interactions):
    assert default_interactions(patch_size, strides) == interactions


def test_stage_sizes_round_up():
    assert stage_sizes((7, 10, 13), [[1, 1, 1], [2, 2, 2], [1, 2, 2]]) == [(7, 10, 13), (4, 5, 7), (4, 3, 4)]


@pytest.mark.parametrize(
    ("patch_size", "window"),
    [
        ((128, 128, 64), (8, 8, 4)),  # published
        ((128, 128, 128), (4, 8, 8)),
        ((28, 256, 224), (4, 8, 8)),
        ((80, 64, 64), (8, 4, 8)),
        ((512, 512), (8, 8)),
    ],
)
def test_default_windows(patch_size, window):
    assert default_window_size(patch_size) == window


def test_one_interaction_may_stand_for_all_stages():
    layout = lay_out_attention([[1, 1], [2, 2], [2, 2]], patch_size=(16, 16), interactions="none")

    assert layout.interactions == ["none", "none", "none"]


def test_blocks_that_are_merged_are_never_larger_than_the_map():
    layout = lay_out_attention([[1, 1, 1], [1, 2, 2]], patch_size=(3, 16, 16), interactions="mcsa")

    assert layout.window_size == (4, 8, 8)
    assert layout.merge_sizes == [[3, 4, 4], [3, 4, 4]]
