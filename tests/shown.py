"""The commands that pages show, as bash reads them, and those that no test can run."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.locations import REPOSITORY

NOT_RUN = {
    "pip install": "installs: tests/release/test_install.py does so, in environments of its own",
    "python3 -m venv": "installs, and runs the demo or the tests: test_install.py and test_demo.py in tests/release",
    ".venv/bin/pip install": "installs: tests/release/test_install.py",
    ".venv/bin/h2aseg --version": "of an installation: tests/release/test_install.py",
    "source .venv/bin/activate": "changes a shell: test_install.py starts the environment's commands by their paths",
    ".venv/bin/python -m pytest": "is a test",
    "image/build.sh": "needs Docker or Podman: tests/release/test_container.py",
    "curl": "needs a PACS: tests/release/test_orthanc.py",
    "hf upload": "needs an account of Hugging Face",
    "python -m benchmarks.": "takes half an hour: tests/integration/test_benchmarks.py measures every part in small",
    "bash benchmarks/gpu_check.sh": "needs a CUDA card: tests/integration/test_benchmarks.py runs it in small on a CPU",
    "python -m studies.tables": "rewrites pages of this repository: tests/unit/studies/test_tables.py",
    "sed -n": "reads what a dry run wrote: tests/integration/test_shown_commands.py, with commands that only count",
    "awk 'NR": "the same",
    "h2aseg compare ...": "leaves options out: tests/unit/petct/compare/test_execute.py and test_compare_command.py",
}
"""How lines begin that are not run -> why not, and what is run instead."""

RECORD = """
set -eu
command_not_found_handle() { printf '%s\\0' "$#" "$@" >>"$RECORD"; }
"""
PAGES = ["README.md", *sorted(f"docs/{file.name}" for file in (REPOSITORY / "docs").glob("*.md"))]


def shown_lines(page: str) -> list[str]:
    """The lines of a page's bash blocks: comments left out, continued lines joined."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"\s+#.*|^#.*", "", line).strip() for line in lines) if line]


def lines_to_run(page: str) -> list[str]:
    """Those that are not excused."""
    return [line for line in shown_lines(page) if not line.startswith(tuple(NOT_RUN))]


def commands(lines: Sequence[str], folder: Path, variables: Mapping[str, str]) -> list[list[str]]:
    """What bash would start, word by word: loops unrolled, variables expanded. It finds no program and runs none."""
    record = folder / "shown_commands"
    record.write_bytes(b"")
    environment = dict(variables) | {"PATH": "/nowhere", "RECORD": str(record)}
    in_order = (line.replace(" | ", "\n") for line in lines)  # bash starts both sides of a pipe at once
    script = "\n".join([RECORD, *in_order])
    subprocess.run(["/bin/bash", "-c", script], env=environment, cwd=folder, check=True)
    return list(_split(os.fsdecode(record.read_bytes()).split("\0")[:-1]))


def _split(words: list[str]) -> Iterator[list[str]]:
    while words:
        length = int(words[0])
        yield words[1 : length + 1]
        words = words[length + 1 :]
