"""Why an image cannot be used, where a reader may want to tell the reasons apart."""

from h2aseg_nnunet.errors import UserError


class NotFiniteError(UserError):
    """An image holds NaN or infinity."""


class PositionError(UserError):
    """An image does not say, or not without contradiction, where its voxels are."""
