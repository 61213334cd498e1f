"""`h2aseg container`: from a trained model to the files from which docker or podman builds an image for a challenge."""

WEIGHTS = ("inside", "separate")
"""Where an image has its weights: in itself, or in model.tar.gz, which grand-challenge unpacks to /opt/ml/model."""
