"""Correcting a transcript on its page, in a real browser, and the way of the corrections into the transcript."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pysubs2
import pytest
import webvtt
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from tests.support.accessibility import violations
from tests.support.browser import chromium, screens
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.transcript.formats import page_pieces
from worker.transcript.formats.html import PageServer
from worker.transcript.model import Gap, Segment, Transcript, Waveform, Word
from worker.transcript.revisions import read_revision_file, revised, states, with_revisions

EVIL = "<img src=x onerror=window.pwned=1>"


def by(speaker: str | None, part: Segment) -> Segment:
    return part.model_copy(update={"channel": speaker})


def unsure(part: Segment, *places: int) -> Segment:
    words = (Word(w.text, w.start, w.end, 0.4 if k in places else 0.9) for k, w in enumerate(part.words))
    return part.model_copy(update={"words": tuple(words)})


SAID = transcript(
    by("1", unsure(segment("Heavy rane closed several rodes.", 0.5, 3.0), 1, 4)),
    by("2", segment("我send咗個email俾你", 3.5, 6.0, words=["我", "send", *"咗個", "email", *"俾你"])),
    by("1", unsure(segment("Roads are open again.", 6.5, 9.0), 0)),
    by("1", segment("Goodbye.", 20.0, 21.0)),
)

MANY = transcript(*(segment(f"Sentence number {k}.", 10.0 * k, 10.0 * k + 2) for k in range(200)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(accept_downloads=True, permissions=["clipboard-read", "clipboard-write"])
    yield found
    found.close()


@pytest.fixture
def opened(context: BrowserContext, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    errors: list[str] = []
    requests: list[str] = []

    def show(said: Transcript = SAID, address: str = "") -> Page:
        path = tmp_path / "call.html"
        path.write_text(render(said, "html"), encoding="utf-8")
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + address)
        page.wait_for_selector("body.ready")
        return page

    yield show
    assert errors == []
    assert all(url.startswith(("file:", "blob:")) for url in requests)


def correct(page: Page, word: str, text: str, key: str = "Enter") -> None:
    page.click(f"[data-t]:text-is('{word}')")
    page.fill(".fix", text)
    page.keyboard.press(key)


def downloaded(page: Page, selector: str, tmp_path: Path) -> Path:
    with page.expect_download() as event:
        page.click(selector)
    target = tmp_path / "downloads" / event.value.suggested_filename
    event.value.save_as(target)
    return target


def saved(page: Page, tmp_path: Path, said: Transcript = SAID) -> Transcript:
    file = read_revision_file(downloaded(page, "#save", tmp_path).read_bytes(), "edits")
    assert file.belongs_to(said)
    return with_revisions(said, file.revisions, base=file.base)


def texts(page: Page) -> list[str]:
    return page.locator("main p").all_text_contents()


def test_a_corrected_word_reaches_the_transcript_with_the_times_of_the_word(opened: Any, tmp_path: Path) -> None:
    page = opened()
    page.click("#edit")
    correct(page, "rane", "rain and snow")
    expect(page.locator("main p").first).to_have_text("Heavy rain and snow closed several rodes.")
    expect(page.locator(".fixed")).to_have_text(["rain", "and", "snow"])
    correct(page, "rodes.", "roads.")
    correct(page, "我", "")
    expect(page.locator("#changes")).to_contain_text("2 unsaved changes")
    said = saved(page, tmp_path)
    first = revised(said).segments[0]
    assert first.text == "Heavy rain and snow closed several roads."
    assert [(w.text, w.start, w.end) for w in first.words if w.text in ("Heavy", "closed", "roads.")] == [
        ("Heavy", 0.5, 1.0), ("closed", 1.5, 2.0), ("roads.", 2.5, 3.0),
    ]  # fmt: skip
    changed = [w for w in first.words if w.text in ("rain", "and", "snow")]
    assert (changed[0].start, changed[-1].end) == (1.0, 1.5)
    assert [w.confidence for w in changed] == [None] * 3
    assert revised(said).segments[1].text == "send 咗個 email 俾你"
    assert said.segments == SAID.segments


def test_tab_goes_from_word_to_word_and_escape_cancels(opened: Any) -> None:
    page = opened()
    page.keyboard.press("e")
    page.click("text=closed")
    page.fill(".fix", "shut")
    page.keyboard.press("Tab")
    expect(page.locator(".fix")).to_have_value("several")
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".fix")).to_have_value("shut")
    page.fill(".fix", "xyz")
    page.keyboard.press("Escape")
    expect(page.locator("main p").first).to_have_text("Heavy rane shut several rodes.")
    page.click("text=Goodbye.")
    page.keyboard.press("Tab")
    expect(page.locator(".fix")).to_have_count(0)


def test_a_click_on_another_word_accepts_the_first_and_opens_the_second(opened: Any) -> None:
    page = opened()
    page.click("#edit")
    page.click("text=rane")
    page.keyboard.type("rain")
    page.click("text=several")
    expect(page.locator(".fix")).to_have_value("several")
    page.keyboard.type("many")
    page.click("text=email")
    expect(page.locator(".fix")).to_have_value("email")
    page.click("h1")
    expect(page.locator(".fix")).to_have_count(0)
    expect(page.locator("main p").first).to_have_text("Heavy rain closed many rodes.")


def test_a_double_click_corrects_a_word_without_the_edit_button(opened: Any) -> None:
    page = opened()
    page.dblclick("text=several")
    expect(page.locator(".fix")).to_have_value("several")


def test_undo_and_redo(opened: Any) -> None:
    page = opened()
    page.click("#edit")
    correct(page, "rane", "rain")
    page.click(".ok >> nth=0")
    expect(page.locator(".seg.reviewed")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(page.locator(".seg.reviewed")).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(page.locator("main p").first).to_have_text(SAID.segments[0].text)
    expect(page.locator("#undo")).to_be_disabled()
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+y")
    expect(page.locator("main p").first).to_contain_text("rain")
    expect(page.locator(".seg.reviewed")).to_have_count(1)
    expect(page.locator("#redo")).to_be_disabled()


def test_the_next_uncertain_word_is_one_key_away_and_enter_accepts_it(opened: Any, tmp_path: Path) -> None:
    page = opened()
    page.keyboard.press("n")
    expect(page.locator(".chosen")).to_have_text("rane")
    page.keyboard.press("n")
    expect(page.locator(".chosen")).to_have_text("rodes.")
    page.keyboard.press("e")
    page.keyboard.press("p")
    expect(page.locator(".fix")).to_have_value("rane")
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    expect(page.locator(".fix")).to_have_value("Roads")
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    expect(page.locator("#told")).to_have_text("No further uncertain words")
    expect(page.locator("main .c0, main .c1")).to_have_count(0)
    said = saved(page, tmp_path)
    assert revised(said).text == SAID.text
    assert revised(said).segments[0].words[1].confidence is None


def test_a_reviewed_paragraph_has_no_uncertain_words(opened: Any, tmp_path: Path) -> None:
    page = opened()
    page.click("#edit")
    page.click(".ok >> nth=0")
    expect(page.locator("#changes")).to_contain_text("1 of 4 reviewed")
    page.keyboard.press("n")
    expect(page.locator(".fix")).to_have_value("Roads")
    said = saved(page, tmp_path)
    assert [state.reviewed for state in states(said)] == [True, False, False, False]
    again = opened(said)
    expect(again.locator(".seg.reviewed")).to_have_count(1)


def test_a_speaker_is_named_once_for_all_paragraphs(opened: Any, tmp_path: Path) -> None:
    page = opened()
    page.click(".who >> nth=0")
    page.fill("#speaker-name", EVIL)
    page.keyboard.press("Enter")
    expect(page.locator(".who")).to_have_text([EVIL, "2", EVIL])
    assert page.evaluate("window.pwned") is None
    page.click(".who >> nth=1")
    page.fill("#speaker-name", "Bo")
    page.check("input[name=where] >> nth=1")
    page.click("#speaker-ok")
    said = saved(page, tmp_path)
    assert [part.channel for part in revised(said).segments] == [EVIL, "Bo", EVIL, EVIL]
    page.click("#undo")
    expect(page.locator(".who")).to_have_text([EVIL, "2", EVIL])


def test_paragraphs_without_names_can_be_given_one(opened: Any, tmp_path: Path) -> None:
    said = transcript(segment("One.", 0, 1), segment("Two.", 9, 10))
    page = opened(said)
    expect(page.locator(".who")).to_have_count(0)
    page.click("#edit")
    page.click(".who >> nth=1")
    page.fill("#speaker-name", "Ann")
    page.check("input[name=where] >> nth=1")
    page.click("#speaker-ok")
    assert [part.channel for part in revised(saved(page, tmp_path, said)).segments] == [None, "Ann"]


def test_corrections_survive_a_reload_and_a_second_save_continues_the_first(opened: Any, tmp_path: Path) -> None:
    page = opened()
    page.click("#edit")
    correct(page, "rane", "rain")
    first = saved(page, tmp_path)
    correct(page, "rodes.", "roads.")
    page.reload()
    page.wait_for_selector("body.ready")
    expect(page.locator("main p").first).to_have_text("Heavy rain closed several roads.")
    expect(page.locator("#changes")).to_contain_text("1 unsaved change")
    file = read_revision_file(downloaded(page, "#save", tmp_path).read_bytes(), "edits")
    assert len(file.revisions) == 2
    both = with_revisions(first, file.revisions, base=file.base)
    assert both == with_revisions(SAID, file.revisions, base=file.base)
    assert revised(both).segments[0].text == "Heavy rain closed several roads."
    assert revised(both).segments[0].words[1].start == 1.0


def test_a_page_opens_the_corrections_of_another_person(opened: Any, context: BrowserContext, tmp_path: Path) -> None:
    page = opened()
    page.click("#edit")
    correct(page, "rane", "rain")
    path = downloaded(page, "#save", tmp_path)
    page.evaluate("localStorage.clear()")
    page.evaluate("addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true)")
    page.close()
    other = opened()
    other.evaluate("localStorage.clear()")
    other.reload()
    other.wait_for_selector("body.ready")
    other.click("#share")
    other.set_input_files("#open-edits", path)
    expect(other.locator("main p").first).to_contain_text("Heavy rain")
    other.set_input_files("#open-edits", path)
    expect(other.locator("#told")).to_contain_text("already in this page")
    wrong = tmp_path / "wrong.edits.json"
    wrong.write_text(json.dumps(json.loads(path.read_text()) | {"source_sha256": "11"}))
    other.set_input_files("#open-edits", wrong)
    expect(other.locator("#told")).to_contain_text("belongs to another transcript")
    wrong.write_text("x")
    other.set_input_files("#open-edits", wrong)
    expect(other.locator("#told")).to_contain_text("not a file of corrections")


def test_subtitles_and_text_contain_the_corrections(opened: Any, tmp_path: Path) -> None:
    page = opened()
    page.click("#edit")
    correct(page, "rane", "rain <b> & {x}")
    files = {}
    for ending in ("srt", "vtt", "txt"):
        page.click("#share")
        files[ending] = downloaded(page, f"#save-{ending}", tmp_path)
        assert files[ending].name == f"call.{ending}"
    read = pysubs2.load(str(files["srt"]))
    assert [(event.start, event.plaintext.replace("\n", " ")) for event in read][:2] == [
        (500, "1: Heavy rain ＜b＞ & ｛x｝ closed several rodes."), (3500, "2: 我 send 咗個 email 俾你"),
    ]  # fmt: skip
    assert all(before.end <= after.start for before, after in pairwise(read))
    assert [cue.voice for cue in webvtt.read(str(files["vtt"]))] == ["1", "2", "1", "1"]
    assert "&lt;b&gt; &amp;" in files["vtt"].read_text()
    assert files["txt"].read_text().split("\n\n")[2] == "1: Roads are open again."


def test_markdown_and_the_file_of_otranscribe_contain_the_corrections(opened: Any, tmp_path: Path) -> None:
    page = opened(SAID.model_copy(update={"segments": (by(EVIL, SAID.segments[0]), *SAID.segments[1:])}))
    page.click("#edit")
    correct(page, "rane", "*rain* <b> & {x}")
    files = {}
    for ending in ("md", "otr"):
        page.click("#share")
        files[ending] = downloaded(page, f"#save-{ending}", tmp_path).read_text("utf-8")
    first = files["md"].split("\n\n")[1]
    assert first == f"**0:00 {EVIL.replace('<', chr(92) + '<').replace('>', chr(92) + '>')}** " + (
        r"Heavy \*rain\* \<b\> & \{x\} closed several rodes."
    )
    document = json.loads(files["otr"])
    assert (document["media"], document["media-time"]) == (SAID.source.name, 0)
    paragraphs = re.findall(r"<p>(.*?)</p>", document["text"])
    time = '<span class="timestamp" data-timestamp="6.5">0:06</span>&nbsp;'
    assert paragraphs[2] == f"{time}<b>1:</b> Roads are open again."
    assert EVIL not in document["text"]
    assert "&lt;img src=x onerror=window.pwned=1&gt;:</b> Heavy *rain* &lt;b&gt; &amp; {x} closed" in paragraphs[0]


RTL = transcript(segment("שלום עולם 123", 0.5, 3), segment("hello", 9, 10), segment("مرحبا بالعالم (abc)", 20, 22))


def test_text_from_right_to_left_has_its_direction(opened: Any) -> None:
    page = opened(RTL)
    direction = "[...document.querySelectorAll('main p')].map((one) => getComputedStyle(one).direction)"
    assert page.evaluate(direction) == ["rtl", "ltr", "rtl"]
    page.dblclick("[data-t]:text-is('עולם')")
    assert page.evaluate("getComputedStyle(document.querySelector('.fix')).direction") == "rtl"


def test_control_k_goes_to_the_search_also_from_a_word(opened: Any) -> None:
    page = opened()
    page.keyboard.press("Control+k")
    expect(page.locator("#find")).to_be_focused()
    page.dblclick("text=several")
    page.fill(".fix", "many")
    page.keyboard.press("Control+k")
    expect(page.locator("#find")).to_be_focused()
    expect(page.locator("main p").first).to_contain_text("closed many")


def test_the_text_is_copied_with_or_without_times(opened: Any) -> None:
    page = opened()
    for selector, first in (("#copy-text", "1: Heavy rane"), ("#copy-times", "[0:00] 1: Heavy rane")):
        page.click("#share")
        page.click(selector)
        expect(page.locator("#told")).to_contain_text("Copied the text")
        assert page.evaluate("navigator.clipboard.readText()").startswith(first)


def test_an_address_names_a_moment_or_a_search_and_the_search_field_takes_a_time(opened: Any) -> None:
    page = opened(MANY, "#t=1500.5")
    expect(page.locator("[data-t]:text-is('150.')")).to_be_in_viewport()
    page.fill("#find", "20:00")
    page.keyboard.press("Enter")
    expect(page.locator("[data-t]:text-is('120.')")).to_be_in_viewport()
    page.evaluate("location.hash = '#q=number%20199'")
    expect(page.locator("#found")).to_have_text("1 of 1")
    expect(page.locator(".chosen >> nth=1")).to_be_in_viewport()
    assert page.locator(".at >> nth=3").get_attribute("href") == "#t=30"
    page.click("#share")
    page.click("#copy-link")
    assert re.search(r"call\.html#t=[\d.]+$", page.evaluate("navigator.clipboard.readText()"))


CHECKS_MS = 2500
"""Longer than the page checks whether it has reached the goal of a search."""


SEARCH = """(wanted) => {
  const field = document.getElementById('find');
  const press = (key) => field.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  for (const one of wanted) {
    press('Escape');
    field.value = one;
    press('Enter');
  }
}"""


def test_a_reader_who_scrolls_away_from_a_match_stays_there(opened: Any) -> None:
    page = opened(MANY)
    page.evaluate(f"({SEARCH})(['number 150.']), dispatchEvent(new WheelEvent('wheel')), scrollTo(0, 0)")
    page.wait_for_timeout(CHECKS_MS)
    expect(page.locator("#found")).to_have_text("1 of 1")
    assert page.evaluate("scrollY") == 0


def test_after_a_second_match_the_page_does_not_scroll_to_the_first(opened: Any) -> None:
    page = opened(MANY)
    page.evaluate(SEARCH, ["number 150.", "number 190."])
    page.evaluate(
        """() => {
          window.goals = [];
          Element.prototype.scrollIntoView = function () {
            goals.push(this.closest('.seg')?.querySelector('.at').textContent);
          };
          scrollTo(0, 0);
        }"""
    )
    page.wait_for_timeout(CHECKS_MS)
    assert set(page.evaluate("goals")) == {"31:40"}


def test_the_words_far_from_the_visible_part_are_plain_text_that_is_searched_and_printed(opened: Any) -> None:
    said = transcript(*(segment(f"Sentence number {k}.", 10.0 * k, 10.0 * k + 2) for k in range(500)))
    page = opened(said)
    page.wait_for_selector("[data-t]")
    assert page.locator("[data-t]").count() < 400
    assert texts(page) == [part.text for part in said.segments]
    page.fill("#find", "number")
    expect(page.locator("#found")).to_have_text("1 of 500")
    page.evaluate("scrollTo(0, 1e6)")
    expect(page.locator("[data-t]:text-is('499.')")).to_have_count(1)
    expect(page.locator("[data-t]:text-is('0.')")).to_have_count(0)
    page.emulate_media(media="print")
    assert not page.locator(".tools").is_visible()
    assert not page.locator(".player").is_visible()
    assert page.locator("main p").last.is_visible()


def test_the_waveform_shows_sound_missing_and_uncertain_parts(opened: Any) -> None:
    levels = "AAAA/////wAAAA=="  # ten steps: sound in the fourth to the seventh
    coverage = SAID.coverage.model_copy(update={"missing": (Gap(start=40, end=50, reason="lost"),)})
    said = SAID.model_copy(update={"coverage": coverage, "waveform": Waveform(step=6.0, levels=levels)})
    page = opened(said)
    colours = page.evaluate(
        """() => {
          const canvas = document.getElementById('marks');
          const draw = canvas.getContext('2d');
          const at = (x, y) => [...draw.getImageData(canvas.width * x, canvas.height * y, 1, 1).data].join();
          return { missing: at(0.75, 0.3), sound: at(0.35, 0.2), silence: at(0.9, 0.2), unsure: at(0.02, 0.97) };
        }"""
    )
    assert colours["silence"] == "0,0,0,0"
    assert colours["missing"] == "192,57,43,255"
    assert colours["unsure"] == "183,121,31,255"
    assert colours["sound"] != "0,0,0,0"


@screens
def test_the_page_is_accessible(browser: Browser, tmp_path: Path, scheme: Any, width: int) -> None:
    path = tmp_path / "call.html"
    coverage = SAID.coverage.model_copy(update={"missing": (Gap(start=40, end=50, reason="lost"),)})
    said = SAID.model_copy(update={"coverage": coverage, "warnings": ("cut off",)})
    path.write_text(render(said, "html"), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    try:
        page.goto(path.as_uri())
        page.wait_for_selector("body.ready [data-t]")
        page.hover("text=several")
        expect(page.locator("#tip")).to_be_visible()
        assert violations(page) == []
        page.click("#edit")
        page.click("text=several")
        page.click(".ok >> nth=0")
        page.fill("#find", "rane")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
        for opener in ("#share", "#help"):
            page.click(opener)
            assert violations(page) == []
            page.keyboard.press("Escape")
        page.click(".who >> nth=0")
        assert violations(page) == []
    finally:
        page.close()


class _Server:
    """Plays the server of a page: it returns the page and accepts or refuses corrections."""

    URL = "http://stt.test"

    def __init__(self, page: Page) -> None:
        self.status = 200
        self.later: list[Route] | None = None
        """Requests to answer later, or None to answer at once."""
        self.requests: list[Request] = []
        self.page = page
        page.route(f"{self.URL}/**", self._answer)

    def _answer(self, route: Route, request: Request) -> None:
        if request.method == "PATCH":
            self.requests.append(request)
            if self.later is None:
                self.saved(route)
            else:
                self.later.append(route)
        elif request.url.endswith("/page"):
            server = PageServer("../../../v1/jobs/job/transcript", '"before"', {"x-csrf-token": "token"})
            route.fulfill(content_type="text/html", body="".join(page_pieces(SAID, server=server)))
        else:
            route.fulfill(status=404, body="")

    def saved(self, route: Route) -> None:
        route.fulfill(status=self.status, headers={"ETag": f'"after-{len(self.requests)}"'}, body="{}")

    def open(self) -> None:
        self.page.goto(f"{self.URL}/console/jobs/job/page")
        self.page.wait_for_selector("body.ready")


def test_a_page_of_a_server_saves_there_and_tells_the_second_editor(context: BrowserContext) -> None:
    page = context.new_page()
    server = _Server(page)
    server.open()
    page.click("#edit")
    correct(page, "rane", "rain")
    page.click("#save")
    expect(page.locator("#told")).to_have_text("Saved")
    expect(page.locator("#changes")).not_to_contain_text("unsaved")
    (request,) = server.requests
    assert request.url == f"{server.URL}/v1/jobs/job/transcript"
    assert (request.headers["if-match"], request.headers["x-csrf-token"]) == ('"before"', "token")
    file = read_revision_file(request.post_data or "", "the body")
    said = with_revisions(SAID, file.revisions, base=file.base)
    assert revised(said).segments[0].text == "Heavy rain closed several rodes."
    correct(page, "rodes.", "roads.")
    server.status = 412
    page.keyboard.press("Control+s")
    expect(page.locator("#conflict")).to_be_visible()
    assert server.requests[1].headers["if-match"] == '"after-1"'
    file = read_revision_file(server.requests[1].post_data or "", "the body")
    assert (len(file.revisions), file.base) == (1, said.revisions[0].id)
    page.click("#conflict-close")
    expect(page.locator("#changes")).to_contain_text("1 unsaved change")
    server.status = 503
    page.click("#save")
    expect(page.locator("#told")).to_contain_text("did not save the corrections: HTTP 503")
    page.reload()
    page.wait_for_selector("body.ready")
    expect(page.locator("main p").first).to_contain_text("several roads.")


def _with_a_waiting_save(context: BrowserContext) -> tuple[Page, _Server]:
    """Open a page of a server, correct a word and save. The server has not answered yet; see `_Server.later`."""
    page = context.new_page()
    server = _Server(page)
    server.open()
    page.click("#edit")
    correct(page, "rane", "rain")
    server.later = []
    page.click("#save")
    return page, server


def test_changes_during_a_request_stay_unsaved_and_a_second_one_waits(context: BrowserContext) -> None:
    page, server = _with_a_waiting_save(context)
    page.click("#save")
    expect(page.locator("#told")).to_have_text("The corrections are being saved")
    page.click(".ok >> nth=0")
    (route,) = server.later
    server.saved(route)
    expect(page.locator("#told")).to_have_text("Saved")
    expect(page.locator("#changes")).to_contain_text("1 unsaved change")
    server.later = None
    page.click("#save")
    expect(page.locator("#changes")).not_to_contain_text("unsaved")
    first, second = (read_revision_file(request.post_data or "", "the body") for request in server.requests)
    said = with_revisions(SAID, first.revisions, base=first.base)
    said = with_revisions(said, second.revisions, base=second.base)
    assert states(said)[0].reviewed
    assert revised(said).segments[0].text == "Heavy rain closed several rodes."


def test_a_request_whose_answer_was_lost_is_repeated_with_the_same_revision(context: BrowserContext) -> None:
    page, server = _with_a_waiting_save(context)
    expect(page.locator("#status")).to_be_visible()
    while not server.later:
        page.wait_for_timeout(20)
    server.later.pop().abort()
    expect(page.locator("#told")).to_contain_text("does not answer")
    server.later = None
    page.click("#save")
    expect(page.locator("#told")).to_have_text("Saved")
    first, second = (read_revision_file(request.post_data or "", "the body") for request in server.requests)
    assert first.revisions == second.revisions


def test_characters_of_two_code_units_need_no_spaces(opened: Any) -> None:
    page = opened(transcript(segment("搭𨋢", 0, 1, words=["搭", "𨋢"]), segment("OK", 1.2, 2)))
    page.fill("#find", "𨋢 OK")
    expect(page.locator("#found")).to_have_text("1 of 1")
    page.click("#share")
    page.click("#copy-text")
    assert page.evaluate("navigator.clipboard.readText()") == "搭𨋢OK\n"
