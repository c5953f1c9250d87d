"""The report in a real browser: its policy lets its own script through."""

import shutil
import subprocess
from pathlib import Path

import pytest

from layertune.report import render_report
from report_studies import STUDIES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; install it to look at the report in a browser"),
]
QUIET = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
)


def dom(path: Path, profile: Path) -> str:
    """Return the page as it is after its script has run."""
    command = [str(CHROMIUM), *QUIET.split(), f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("name", ["recorded", "finals", "empty"])
def test_a_browser_runs_the_pages_script_under_its_content_policy(name: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_report(STUDIES[name]()), encoding="utf-8")
    drawn = dom(page, tmp_path / "profile")
    assert "<title>trial" not in drawn  # the script tells points itself
    assert drawn.count('class="copy"') == drawn.count("<pre>")
    assert drawn.count('class="tip"') == 1
