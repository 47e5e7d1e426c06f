"""The documentation site builds without a warning, and the commands of README.md and the tutorial run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import readme

pytestmark = pytest.mark.timeout(180)
BLOCK = re.compile(r"(?:<!-- (not run|run by): (.+?) -->\n\n?)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = (readme.README, readme.SITE / "tutorial.md")


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    # --quiet would hide the warnings from --strict as well.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = build(readme.ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "tutorial.html").exists()


@pytest.mark.parametrize("fault", ["dead link", "dead anchor", "page outside the navigation", "missing page"])
def test_the_build_fails_for_a_fault(tmp_path: Path, fault: str) -> None:
    shutil.copy(readme.ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(readme.SITE, tmp_path / "docs")
    glossary = tmp_path / "docs" / "glossary.md"
    if fault == "missing page":
        glossary.unlink()
    elif fault == "page outside the navigation":
        (tmp_path / "docs" / "stray.md").write_text("# Stray")
    else:
        glossary.write_text("[x](missing.md)" if fault == "dead link" else "[x](tutorial.md#no-such-heading)")
    assert build(tmp_path, tmp_path / "site").returncode != 0


@pytest.mark.recognizer
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_runs_or_names_the_reason_why_not(page: Path, tmp_path: Path) -> None:
    """The commands of a page run in order, in a folder with the sample recordings and the installed program."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    shutil.copytree(readme.ROOT / "tests" / "samples", tmp_path / "tests" / "samples")
    shutil.copytree(readme.ROOT / "tests" / "samples", tmp_path / "recordings")
    script = []
    for kind, reason, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "run by":
            assert (readme.ROOT / reason).exists(), reason
        elif not kind:
            assert language == "sh", f"a block without a mark: {code}"
            script.append(code)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STT_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert script
    assert done.returncode == 0, done.stdout + done.stderr
