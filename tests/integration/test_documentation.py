"""The documentation site builds without a warning, and the commands of README.md and the tutorial run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support import readme
from tests.support.browser import chromium
from tests.support.forked_process import start_process
from tests.support.ports import free_port
from tests.support.readme import code_blocks
from tests.support.site_links import place, targets
from tests.support.wait import allowed_s, wait_until
from worker.settings import load
from worker.webhooks.http_post import signature, signing_keys

pytestmark = pytest.mark.timeout(180)
PAGES = (readme.README, pytest.param(readme.SITE / "tutorial.md", marks=pytest.mark.chaos))
BUILD = "import sys; sys.modules['jieba'] = None; from mkdocs.__main__ import cli; cli()"
"""MkDocs without the Chinese word list, which takes longer to load than the site to build."""
CLONE = 'REPOSITORY=ADDRESS\ngit clone "$REPOSITORY" stt-batch && cd stt-batch\n'
HOOK = "tests/support/site_links.py"
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    # --quiet would hide the warnings from --strict as well.
    command = [sys.executable, "-c", BUILD, "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(readme.ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=allowed_s(90), check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    done = build(readme.ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_needs_no_other_host_and_its_search_works_from_the_disk(site: Path) -> None:
    requests: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 360, "height": 740})
        page.on("request", lambda request: requests.append(request.url))
        page.goto((site / "reference" / "settings.html").as_uri())
        # On a phone nothing is wider than the screen, and the cells of a table are below each other.
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.scrollWidth <= innerWidth)")
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto((site / "index.html").as_uri())
        page.click(".md-search__input")
        page.keyboard.type("lease", delay=30)
        page.wait_for_selector(".md-search-result__item", timeout=30_000)
        assert "Ledger and leases" in page.inner_text(".md-search-result__list")
    assert [url for url in requests if not url.startswith(("file:", "data:", "about:", "blob:"))] == []


class Elements(HTMLParser):
    """Collects the ids of a page, and its inline code that is not inside a link."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.unlinked: set[str] = set()
        self.copied: set[str] = set()
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids |= {value for name, value in attrs if name == "id" and value}
        if tag in ("a", "pre", "code", "h1", "h2", "h3"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if self._inside == ["code"]:
            self.unlinked.add(data)


def test_every_setting_and_option_of_a_guide_links_to_the_reference(site: Path) -> None:
    ids = {
        name: Elements((site / name).read_text("utf-8")).ids for name in {place(one)[0] for one in targets().values()}
    }
    assert {name for name, target in targets().items() if place(target)[1] not in ids[place(target)[0]]} == set()
    for folder in ("guides", "explanation"):
        for path in sorted((site / folder).glob("*.html")):
            unlinked = Elements(path.read_text("utf-8")).unlinked
            assert {code for code in unlinked if re.split(r"[ =]", code)[0] in targets()} == set(), path.name


def test_the_build_fails_for_each_fault(tmp_path: Path) -> None:
    """One build with a dead link, a dead anchor, a page outside the navigation, and a missing page."""
    shutil.copy(readme.ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(readme.SITE, tmp_path / "docs")
    (tmp_path / HOOK).parent.mkdir(parents=True)
    shutil.copy(readme.ROOT / HOOK, tmp_path / HOOK)
    (tmp_path / "docs" / "glossary.md").unlink()
    (tmp_path / "docs" / "stray.md").write_text("# Stray")
    (tmp_path / "docs" / "index.md").write_text("[x](missing.md) [y](tutorial.md#no-such-heading)")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    for fault in ("missing.md", "no-such-heading", "stray.md", "glossary.md"):
        assert any(fault in line for line in warnings) or f"- {fault}" in done.stderr, done.stderr


@pytest.mark.recognizer
@pytest.mark.parametrize("page", PAGES, ids=["README.md", "tutorial.md"])
def test_every_command_runs_or_names_the_reason_why_not(page: Path, tmp_path: Path) -> None:
    """The commands of a page run in order in a fresh clone, with the installed program in the place of `.venv`."""
    script = [block.code for block in code_blocks(page) if block.language == "sh" and not block.mark]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STT_")}
    if page == readme.README:
        assert script.pop(0) == CLONE
    assert script
    prepare = f"""{CLONE.replace("ADDRESS", shlex.quote(str(readme.ROOT)))}
        mkdir -p .venv recordings && ln -s {shlex.quote(str(Path(sys.executable).parent))} .venv/bin
        cp tests/samples/news.flac recordings"""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([prepare, *script])],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=allowed_s(150), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_receiver_of_webhooks_accepts_only_signed_messages(tmp_path: Path) -> None:
    blocks = code_blocks(readme.SITE / "guides" / "service.md")
    (code,) = (block.code for block in blocks if "class Receiver" in block.code)
    port = free_port()
    (tmp_path / "receiver.py").write_text(code.replace("9000", str(port)), encoding="utf-8")
    environment = {**os.environ, "STT_WEBHOOK_SECRET": SECRET, "PYTHONPATH": str(tmp_path)}
    process = start_process("receiver", env=environment, log=tmp_path / "log")
    body = json.dumps({"type": "job.done", "data": {"id": "x"}}).encode()
    at = int(time.time())
    signed = signature(signing_keys(load({"STT_WEBHOOK_SECRET": SECRET})), "msg_1", at, body)

    def answer(signature_sent: str) -> int:
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature_sent}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as got:  # noqa: S310
                return int(got.status)
        except urllib.error.HTTPError as exc:
            return exc.code
        except OSError:
            return 0  # it does not listen yet

    try:
        wait_until(lambda: answer(signed) == 204, "the receiver accepts the message")
        assert answer("v1,AAAA") == 401
    finally:
        process.kill()
        process.wait(10)
