"""docs/quickstart.md: its blocks run as they stand, in order, in one shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.locations import REPOSITORY


def test_every_block_of_the_quickstart_runs_and_leaves_what_it_says(tmp_path):
    page = (REPOSITORY / "docs" / "quickstart.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    subprocess.run(["bash", "-euxc", "\n".join(blocks)], cwd=tmp_path, env=environment, check=True)

    assert len(blocks) == 6
    assert (tmp_path / "h2aseg_demo" / "mip.png").stat().st_size > 10_000
    assert len(list((tmp_path / "predictions").glob("*.nii.gz"))) == 4
    for file in ("evaluation.json", "report/index.html"):
        assert (tmp_path / file).exists()
    assert list((tmp_path / "explanation").rglob("explanation.json"))
