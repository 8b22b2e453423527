"""The site, built as `make docs` builds it: a warning is an error, and pages load nothing."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.install

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="https?:')


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PATH": str(shutil.which("python") or "")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = list(tmp_path.glob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        assert not LOADED.findall(text), page
    assert "blitznet300" in (tmp_path / "getting_started.html").read_text()
    assert 'id="blitznet.inference.predictor.load"' in (tmp_path / "api.html").read_text()
