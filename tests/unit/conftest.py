import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform


@pytest.fixture
def make_batch():
    """Noise, with the tumour where CT and PET together are bright; targets as nnU-Net's augmentation makes them."""

    def make(trainer) -> dict:
        image = torch.randn(1, 2, *trainer.configuration_manager.patch_size)
        downsample = DownsampleSegForDSTransform(ds_scales=trainer._get_deep_supervision_scales())
        targets = downsample(segmentation=(image[0].sum(0, keepdim=True) > 1.5).float())["segmentation"]
        return {"data": image, "target": [target[None] for target in targets]}

    return make
