"""The library of a folder (`summary.html`) in a real browser, opened from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tasks.batches import summary_page
from tasks.batches.summary import JobLine, summarize
from tasks.batches.summary_files import write_summary
from tests.support.accessibility import violations
from tests.support.browser import chromium, screens
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.transcript.model import Quality, ReviewReason

EVIL = "<img src=x onerror=window.pwned=1>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def job(name: str, state: str = "done", **others: Any) -> JobLine:
    outputs = [f"{name}.html", f"{name}.json", f"{name}.srt"] if state == "done" else []
    return JobLine.model_validate({"id": name, "source": f"{name}.wav", "state": state, "outputs": outputs, **others})


def doubtful(confidence: float, text: str) -> Quality:
    reason = ReviewReason(code="low_confidence", text=text)
    return Quality(confidence=confidence, needs_review=confidence < 0.63, reasons=(reason,) * (confidence < 0.63))


def write_transcript(folder: Path, name: str, text: str, language: str = "en") -> None:
    said = transcript(*(segment(line, 2.0 * k, 2.0 * k + 1) for k, line in enumerate(text.split("\n"))))
    said = said.model_copy(update={"language": language})
    for fmt in ("json", "html"):
        (folder / f"{name}.{fmt}").write_text(render(said, fmt), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(summary_page, "_BLOCK_ITEMS", 2)  # the page builds the second half of the list by itself
    monkeypatch.setattr(summary_page, "_BLOCK_CHARACTERS", 40)
    write_transcript(tmp_path, "b2", "Heavy rain closed several roads.\nMore rain is expected.")
    write_transcript(tmp_path, "b10", f"No news {EVIL} today.")
    write_transcript(tmp_path, "yue", "我 send 咗 個 email 俾你\n落大雨", "yue")
    jobs = [
        job("b10", duration_s=60, quality=doubtful(0.9, "")),
        job("b2", duration_s=600, quality=doubtful(0.5, "mean confidence 0.5")),
        job("yue", duration_s=5, quality=doubtful(0.7, "")),
        job("bad", "failed", error="bad.wav: the file is empty (0 bytes)", error_code="source_damaged"),
    ]
    write_summary(summarize("monday", jobs, now=0.0), tmp_path)
    return tmp_path


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    pages: list[Page] = []
    errors: list[str] = []
    requests: list[str] = []

    def show(path: Path, **options: Any) -> Page:
        page = browser.new_page(**options)
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("body.ready")
        return page

    yield show
    for page in pages:
        page.close()
    assert errors == []
    assert all(url.startswith("file:") for url in requests)


def names(page: Page) -> list[str]:
    return page.locator(".item:visible h3").all_text_contents()


def test_all_transcripts_are_searched_and_a_match_opens_the_page_with_the_search(opened: Any, folder: Path) -> None:
    page = opened(folder / "summary.html")
    expect(page.locator("#count")).to_have_text("4 of 4 files")
    page.keyboard.press("/")
    page.keyboard.type("RAIN")
    expect(page.locator("#count")).to_have_text("2 matches in 1 of 4 files")
    expect(page.locator("mark")).to_have_text("rain")
    page.click(".item:visible h3 a")
    page.wait_for_selector("body.ready")
    expect(page.locator("#found")).to_have_text("1 of 2")
    page.go_back()
    page.wait_for_selector("body.ready")
    page.fill("#find", "咗個email")
    expect(page.locator("#count")).to_have_text("1 match in 1 of 4 files")
    expect(page.locator("mark")).to_have_text("咗 個 email")
    page.fill("#find", "[.*")
    expect(page.locator("#count")).to_have_text("0 matches in 0 of 4 files")
    page.fill("#find", "")
    expect(page.locator(".item:visible")).to_have_count(4)
    expect(page.locator(".found")).to_have_count(0)


def test_items_are_sorted_and_filtered(opened: Any, folder: Path) -> None:
    page = opened(folder / "summary.html")
    assert names(page) == ["b10.wav", "b2.wav", "yue.wav", "bad.wav"]
    for order, first in {"name": "b2.wav", "longest": "b2.wav", "shortest": "bad.wav", "doubtful": "b2.wav"}.items():
        page.select_option("#sort", order)
        assert names(page)[0] == first, order
    page.select_option("#sort", "")
    page.select_option("#state", "failed")
    assert names(page) == ["bad.wav"]
    page.select_option("#state", "review")
    assert names(page) == ["b2.wav"]
    expect(page.locator(".item:visible .why")).to_contain_text("needs review: mean confidence 0.5")
    page.select_option("#state", "")
    page.select_option("#language", "yue")
    assert names(page) == ["yue.wav"]
    expect(page.locator("details[open] summary")).to_contain_text("the file is empty")


def test_a_reader_who_comes_back_finds_the_order_and_the_search_of_before(opened: Any, folder: Path) -> None:
    page = opened(folder / "summary.html")
    page.select_option("#sort", "longest")
    page.fill("#find", "o")
    expect(page.locator("#count")).to_contain_text("in 2 of 4 files")
    page.click(".item:visible h3 a")
    page.wait_for_selector("body.ready")
    page.go_back()
    page.wait_for_selector("body.ready")
    assert [page.input_value(field) for field in ("#sort", "#find")] == ["longest", "o"]
    expect(page.locator("#count")).to_contain_text("in 2 of 4 files")
    expect(page.locator(".item:visible h3")).to_have_text(["b2.wav", "b10.wav"])


def test_text_of_transcripts_is_never_markup(opened: Any, folder: Path) -> None:
    page = opened(folder / "summary.html")
    page.fill("#find", "onerror")
    expect(page.locator(".found")).to_contain_text(EVIL)
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0


@screens
def test_the_library_is_accessible(opened: Any, folder: Path, scheme: Any, width: int) -> None:
    page = opened(folder / "summary.html", viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert violations(page) == []
    page.fill("#find", "rain")
    expect(page.locator("mark")).to_have_count(1)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_library_can_be_read_without_javascript(browser: Browser, folder: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    try:
        page.goto((folder / "summary.html").as_uri())
        assert page.locator(".item h3").all_text_contents() == ["b10.wav", "b2.wav", "yue.wav", "bad.wav"]
        assert not page.locator(".tools").is_visible()
    finally:
        page.close()
