import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PID_FILES = [Path("/run/slurmctld.pid"), Path("/run/slurmd.pid")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.release)


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A Slurm of one node: the one that runs here, or one that is started and ended by its process numbers."""
    if shutil.which("sinfo") and not subprocess.run(["sinfo"], capture_output=True).returncode:
        yield
        return
    if shutil.which("slurmctld") is None or os.geteuid():
        pytest.skip("no Slurm: Debian's slurm-wlm, and root to start it, are needed")
    subprocess.run(["bash", Path(__file__).parent / "slurm" / "start.sh"], check=True)
    yield
    for file in PID_FILES:
        if file.is_file():
            os.kill(int(file.read_text()), signal.SIGTERM)
