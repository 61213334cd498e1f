"""Ablations: H2ASeg without one of its two modules, without both, and without the norm of attention's tokens."""

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg


class nnUNetTrainerH2ASeg_noMCSA(nnUNetTrainerH2ASeg):
    """No attention between the streams at any stage: they first meet in the decoder.

    The paper's MCSA works on all scales; its two forms, by windows and global, go together.
    """

    network_options = {"interactions": "none"}  # noqa: RUF012, read only


class nnUNetTrainerH2ASeg_noTAMW(nnUNetTrainerH2ASeg):
    """CT, PET and decoder features are concatenated as they are."""

    network_options = {"tamw": False}  # noqa: RUF012, read only


class nnUNetTrainerH2ASeg_noMCSA_noTAMW(nnUNetTrainerH2ASeg_noMCSA, nnUNetTrainerH2ASeg_noTAMW):
    """Two residual encoders and a decoder on their concatenated features."""


class nnUNetTrainerH2ASeg_noTokenNorm(nnUNetTrainerH2ASeg):
    """Attention reads its tokens as they are, as in the release."""

    network_options = {"attention_token_norm": False}  # noqa: RUF012, read only
