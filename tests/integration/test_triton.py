"""The Triton kernels without a card: their numbers by Triton's interpreter, and that they compile for cards."""

import os
import subprocess
import sys

import pytest

from tests.locations import REPOSITORY

pytest.importorskip("triton")


def run(module: str, **variables: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", f"tests.unit.network.kernels.{module}"],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_every_kernel_equals_its_formula():
    assert "all kernels equal their formulas" in run("triton_by_interpreter", TRITON_INTERPRET="1")


@pytest.mark.slow
def test_every_kernel_compiles_for_cards(tmp_path):
    """Also from an empty cache."""
    assert "compiled 10 kernels for 2 targets" in run("triton_ahead", TRITON_CACHE_DIR=str(tmp_path))
