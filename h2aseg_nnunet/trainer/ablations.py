"""The paper's ablations: H2ASeg without the one or the other of its two modules, and without both."""

from typing import Any

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg


class nnUNetTrainerH2ASeg_noMCSA(nnUNetTrainerH2ASeg):
    """No attention between the streams at any stage: they first meet in the decoder.

    The paper's MCSA works on all scales; its two forms, by windows and global, go together.
    """

    @classmethod
    def network_options(cls, n_stages: int) -> dict[str, Any]:
        return super().network_options(n_stages) | {"interactions": ["none"] * n_stages}


class nnUNetTrainerH2ASeg_noTAMW(nnUNetTrainerH2ASeg):
    """CT, PET and decoder features are concatenated as they are."""

    @classmethod
    def network_options(cls, n_stages: int) -> dict[str, Any]:
        return super().network_options(n_stages) | {"tamw": False}


class nnUNetTrainerH2ASeg_noMCSA_noTAMW(nnUNetTrainerH2ASeg_noMCSA, nnUNetTrainerH2ASeg_noTAMW):
    """Two residual encoders and a decoder on their concatenated features."""
