"""Makes the pictures of the documentation: a run in a terminal, a transcript page and the console in Chromium.

python -m tests.support.pictures        needs the extras `local` and `test`, and Chromium
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import expect
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tests.support.browser import chromium
from tests.support.readme import ROOT, SITE
from tests.support.terminal import terminal

COMMAND = ("stt-batch", "run", "recordings", "--out", "transcripts", "--format", "html,json,srt")
# The format of rich without its web fonts, which are on another host. Braces are doubled in it.
NO_FONTS = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
SAMPLES = ("interview.mp3", "news.flac", "phone-call.wav")


def terminal_run(folder: Path) -> str:
    """Transcribe the sample recordings in `folder`, and return the output as an SVG image."""
    (folder / "recordings").mkdir()
    for name in SAMPLES:
        (folder / "recordings" / name).write_bytes((ROOT / "tests" / "samples" / name).read_bytes())
    with terminal(*COMMAND[1:], folder=folder, environment={}, columns=92, rows=40) as shown:
        if shown.wait(300) != 0:
            raise SystemExit(shown.text)
        text = shown.text
    with (folder / "console").open("w", encoding="utf-8") as screen:
        console = Console(record=True, width=92, file=screen, force_terminal=True)
        console.print(f"$ {' '.join(COMMAND)}", style="bold", highlight=False)
        console.print(Text(text), highlight=False)
        return console.export_svg(title="stt-batch", code_format=NO_FONTS)


def page_screenshot(folder: Path, target: Path) -> None:
    """Photograph the transcript page of one recording in `folder`."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 960, "height": 440}, device_scale_factor=1.5)
        page.goto((folder / "transcripts" / "news.html").as_uri())
        page.wait_for_timeout(1000)
        page.screenshot(path=target)


def console_screenshot(folder: Path, target: Path) -> None:
    """Run `stt-batch studio`, upload the sample recordings, and photograph the overview and the transcripts."""
    program = Path(sys.executable).parent / "stt-batch"
    command = [program, "studio", str(folder / "studio"), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as studio:
        try:
            address = next(found[0] for line in studio.stdout or () if (found := re.search(r"http://\S+", line)))
            with chromium() as browser:
                page = browser.new_page(viewport={"width": 1120, "height": 680}, device_scale_factor=1.25)
                page.goto(address)
                page.click("text=Transcribe")
                page.set_input_files("#files", [ROOT / "tests" / "samples" / name for name in SAMPLES])
                expect(page.locator(".upload .state.done")).to_have_count(len(SAMPLES), timeout=120_000)
                page.screenshot(path=target)
        finally:
            studio.terminate()


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        (SITE / "images" / "run.svg").write_text(terminal_run(Path(name)), encoding="utf-8")
        page_screenshot(Path(name), SITE / "images" / "transcript.png")
        console_screenshot(Path(name), SITE / "images" / "console.png")
