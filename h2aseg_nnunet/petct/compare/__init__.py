"""Trainers side by side on identical folds, seeds and schedule: `h2aseg compare`."""
