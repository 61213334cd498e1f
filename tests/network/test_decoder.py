import torch

from h2aseg_nnunet.network.decoder import tumor_and_background


def test_every_foreground_class_is_tumor():
    logits = torch.log(torch.tensor([0.5, 0.2, 0.3])).reshape(1, 3, 1, 1)

    tumor, background = tumor_and_background(logits)

    torch.testing.assert_close(tumor.flatten(), torch.tensor([0.5]))
    torch.testing.assert_close(background.flatten(), torch.tensor([0.5]))
    assert tumor.shape == background.shape == (1, 1, 1, 1)


def test_two_classes_give_the_softmax():
    logits = torch.randn(2, 2, 3, 4, 5)

    torch.testing.assert_close(torch.cat(tumor_and_background(logits)[::-1], dim=1), logits.softmax(1))
