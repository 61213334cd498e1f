"""nnU-Net experiment planning with H2ASeg's own memory."""
