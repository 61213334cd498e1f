"""A page as Chromium shows it, after a script has used it."""

import shutil
import subprocess
from pathlib import Path

import pytest


def page_after(page: Path, script: str, profile: Path) -> str:
    """Open a page in Chromium, run a script in it as a user's clicks would, and return the page as HTML.

    Pictures are left out: all of thousands would be drawn at once, where a window draws those that one sees.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium to open the page in")
    used = page.with_name("used.html")
    used.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]
    options += [f"--user-data-dir={profile}", "--blink-settings=imagesEnabled=false"]
    shown = subprocess.run([program, *options, used.as_uri()], capture_output=True, text=True, timeout=600, check=True)
    return shown.stdout
