"""`h2aseg challenge`: one case as grand-challenge delivers it, to one mask as the challenge reads it.

It is what runs in the image that `h2aseg container` prepares. interfaces is the table of challenges.
"""

from pathlib import Path

CHALLENGES = ("autopet3", "autopet4", "hecktor25", "hecktor26")
"""Challenges whose interface is known: see docs/challenge.md."""

MODEL_PLACES = (Path("/opt/ml/model"), Path("/opt/h2aseg/model"))
"""Where an image has its model: uploaded for itself, or inside."""
