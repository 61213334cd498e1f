import pytest

from h2aseg_nnunet.modalities import assign_channels

CT, Z = "CTNormalization", "ZScoreNormalization"


@pytest.mark.parametrize("schemes", [[CT, Z], [CT, CT], [Z, Z], [Z, CT]])
def test_two_channels_are_ct_and_pet_whatever_their_normalization(schemes):
    assert assign_channels(schemes, 2) == ((0,), (1,))


def test_with_more_channels_ct_normalization_decides():
    assert assign_channels([Z, CT, "NoNormalization", CT], 4) == ((1, 3), (0, 2))


def test_cascade_channels_feed_both_streams():
    assert assign_channels([CT, Z], 4) == ((0, 2, 3), (1, 2, 3))
    assert assign_channels([Z, CT, Z], 4) == ((1, 3), (0, 2, 3))


def test_one_channel_is_refused():
    with pytest.raises(ValueError, match="needs two modalities, CT and PET"):
        assign_channels([CT], 1)


def test_one_channel_with_a_cascade_is_refused_too():
    with pytest.raises(ValueError, match="needs two modalities, CT and PET"):
        assign_channels([CT], 2)


@pytest.mark.parametrize(("scheme", "empty"), [(CT, "PET"), (Z, "CT")])
def test_an_empty_stream_is_explained(scheme, empty):
    with pytest.raises(ValueError, match=f"the {empty} stream is empty.*channel_names"):
        assign_channels([scheme] * 3, 3)
