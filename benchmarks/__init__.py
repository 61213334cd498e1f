"""What H2ASeg costs, beside nnU-Net's own networks: `python -m benchmarks.run`."""
