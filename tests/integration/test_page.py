"""The HTML page of a transcript in a real browser, opened from disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import chromium
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.storage.outputs.local_files import LocalOutputs, write
from worker.transcript.model import Gap, Segment, Transcript, Word
from worker.transcript.subtitles.style import Style

AUDIO = Path(__file__).resolve().parents[1] / "samples" / "news.flac"
EVIL = "<img src=x onerror=window.pwned=1></p><script>window.pwned=1</script>\"'&amp;"

SPOKEN = (
    segment("Heavy rain closed several roads.", 0.5, 3.0),
    segment("我send咗個email俾你，有冇收到呀？", 3.5, 6.0, words=["我", "send", *"咗個", "email", *"俾你有冇收到呀"]),
    segment("Several roads are open again.", 6.5, 9.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


class Opened:
    """An open page, with the errors that occurred on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._told(message.type, message.text))
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.asked.append(request.url))

    def _told(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.errors.append(text)

    def at(self) -> float:
        return float(self.page.evaluate("document.getElementById('audio').currentTime"))

    def lit(self) -> str:
        return " ".join(self.page.locator(".lit").all_text_contents())

    def plays(self) -> bool:
        return not self.page.evaluate("document.getElementById('audio').paused")


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    pages: list[Page] = []

    def show(said: Transcript, *, style: Style | None = None, ready: bool = True) -> Opened:
        path = tmp_path / "said.html"
        shutil.copyfile(AUDIO, tmp_path / Path(AUDIO).name)  # beside the page, which names no path of the machine
        path.write_text(render(said, "html", style or Style()), encoding="utf-8")
        page = browser.new_page()
        pages.append(page)
        found = Opened(page)
        page.goto(path.as_uri())
        page.wait_for_selector("body.ready")
        if ready:
            page.wait_for_function("document.getElementById('audio').readyState > 0")
        return found

    yield show
    for page in pages:
        page.close()


def heard(*segments: Segment, path: Path | str = AUDIO, **changed: Any) -> Transcript:
    said = transcript(*segments)
    source = said.source.model_copy(update={"path": str(path), "name": Path(path).name, "duration": 9.45})
    return said.model_copy(update={"source": source, **changed})


def test_words_are_highlighted_while_they_play(opened: Any) -> None:
    found = opened(heard(*SPOKEN))
    seen = found.page.evaluate(
        """() => new Promise((done) => {
          const seen = [];
          const audio = document.getElementById('audio');
          const look = () => {
            const lit = [...document.querySelectorAll('.lit')].map((node) => node.textContent).join(' ');
            if (lit && lit !== (seen.at(-1) || {}).lit) seen.push({ lit, at: audio.currentTime });
            if (audio.currentTime > 2.9) { audio.pause(); done(seen); } else requestAnimationFrame(look);
          };
          audio.playbackRate = 0.5;  // a busy machine draws few frames
          audio.play().then(look);
        })"""
    )
    assert [one["lit"] for one in seen] == ["Heavy", "rain", "closed", "several", "roads."]
    # A word is not lit early. How late it is depends on the next frame, which a busy machine draws late.
    assert all(
        start - 0.1 <= one["at"] < start + 0.8 for one, start in zip(seen, (0.5, 1.0, 1.5, 2.0, 2.5), strict=True)
    )
    assert found.page.locator(".seg.current").count() == 1
    assert found.errors == []
    assert all(url.startswith("file:") for url in found.asked)


def test_a_click_on_a_word_plays_from_there(opened: Any) -> None:
    found = opened(heard(*SPOKEN))
    found.page.click("text=email")
    expect(found.page.locator("body")).to_have_class(re.compile("playing"))
    # The audio plays on until it is read, on a busy machine for a second or more.
    start = SPOKEN[1].words[4].start
    assert start - 0.1 <= found.at() < start + 3
    found.page.click("#play")
    assert not found.plays()
    found.page.click(".at")
    assert 0.4 <= found.at() < 3.5
    assert found.plays()


def test_words_of_two_simultaneous_speakers_are_both_highlighted(opened: Any) -> None:
    left = segment("one two three four", 1.0, 5.0).model_copy(update={"channel": "agent"})
    right = segment("yes", 2.2, 2.9).model_copy(update={"channel": "caller"})
    found = opened(heard(left, right))
    found.page.evaluate("document.getElementById('audio').currentTime = 2.5")
    expect(found.page.locator(".lit")).to_have_text(["two", "yes"])
    assert found.page.locator(".who").all_text_contents() == ["agent", "caller"]


def test_keys(opened: Any) -> None:
    found = opened(heard(*SPOKEN))
    press = found.page.keyboard.press
    press("ArrowDown")
    press("ArrowDown")
    expect(found.page.locator("#now")).to_have_text("0:03")
    press("ArrowRight")
    expect(found.page.locator("#now")).to_have_text("0:06")
    press("ArrowLeft")
    expect(found.page.locator("#now")).to_have_text("0:03")
    press("Space")
    expect(found.page.locator("body")).to_have_class(re.compile("playing"))
    press("Space")
    expect(found.page.locator("body")).not_to_have_class(re.compile("playing"))
    press(".")
    assert found.page.evaluate("document.getElementById('audio').playbackRate") == 1.25
    press("?")
    expect(found.page.locator("#keys")).to_be_visible()
    press("Escape")
    expect(found.page.locator("#keys")).to_be_hidden()
    before = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    press("t")
    assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_search(opened: Any) -> None:
    found = opened(heard(*SPOKEN))
    found.page.keyboard.press("/")
    found.page.keyboard.type("SEVERAL road")
    expect(found.page.locator("#found")).to_have_text("1 of 2")
    expect(found.page.locator(".chosen")).to_have_text(["several", "roads."])
    found.page.keyboard.press("Enter")
    expect(found.page.locator("#found")).to_have_text("2 of 2")
    expect(found.page.locator(".chosen")).to_have_text(["Several", "roads"])
    found.page.fill("#find", "咗個email")  # as it was said, without the spaces it is shown with
    expect(found.page.locator("#found")).to_have_text("1 of 1")
    expect(found.page.locator(".hit")).to_have_text(["咗", "個", "email"])
    found.page.fill("#find", "nowhere")
    expect(found.page.locator("#found")).to_have_text("not found")
    found.page.keyboard.press("Escape")
    expect(found.page.locator(".hit")).to_have_count(0)


def test_confidence_is_shown(opened: Any) -> None:
    words = tuple(Word(text=t, start=k, end=k + 1, confidence=c) for k, (t, c) in enumerate(
        [("sure", 0.95), ("unsure", 0.65), ("guess", 0.2), ("unknown", None)]))  # fmt: skip
    found = opened(heard(Segment(text="sure unsure guess unknown", start=0, end=4, words=words)))
    decoration = "getComputedStyle([...document.querySelectorAll('[data-t]')][{}]).textDecorationStyle"
    line = "getComputedStyle([...document.querySelectorAll('[data-t]')][{}]).textDecorationLine"
    assert [found.page.evaluate(line.format(k)) for k in range(4)] == ["none", "underline", "underline", "none"]
    assert [found.page.evaluate(decoration.format(k)) for k in (1, 2)] == ["dotted", "wavy"]
    found.page.hover("text=guess")
    expect(found.page.locator("#tip")).to_have_text("0:02 · confidence 20 %")
    expect(found.page.locator(".facts")).to_contain_text("mean confidence 60 %")
    found.page.keyboard.press("c")
    assert found.page.evaluate(line.format(2)) == "none"


def test_a_later_visit_continues_where_the_last_one_stopped(opened: Any) -> None:
    found = opened(heard(*SPOKEN, segment("w", 20, 21)))
    found.page.evaluate("document.getElementById('audio').currentTime = 4")
    found.page.reload()
    found.page.wait_for_function("document.getElementById('audio').readyState > 0")
    assert found.at() == 0  # close to the start
    # The end of the sample is at 9.45 s.
    found.page.evaluate("Object.defineProperty(document.getElementById('audio'), 'duration', { value: 30 })")
    found.page.evaluate("document.getElementById('audio').currentTime = 6.5")
    found.page.reload()
    expect(found.page.locator("#told")).to_have_text("Continues at 0:06; press 0 for the start")
    assert found.at() == pytest.approx(6.5, abs=0.2)
    found.page.keyboard.press("0")
    assert found.at() == 0


def test_the_page_asks_for_missing_audio(opened: Any) -> None:
    found = opened(heard(*SPOKEN, path="/nowhere/gone.flac"), ready=False)
    expect(found.page.locator("#choose")).to_contain_text("gone.flac was not found")
    found.page.set_input_files("#file", AUDIO)
    expect(found.page.locator("#choose")).to_be_hidden()
    found.page.click("text=again.")
    start = SPOKEN[2].words[4].start
    assert start - 0.1 <= found.at() < start + 3
    assert all(url.startswith(("file:", "blob:")) for url in found.asked)


def test_audio_in_the_folder_of_the_page_is_found(opened: Any, tmp_path: Path) -> None:
    shutil.copyfile(AUDIO, tmp_path / "電話 #1 50%.flac")
    found = opened(heard(*SPOKEN, path="/nowhere/電話 #1 50%.flac"))
    assert found.page.evaluate("document.getElementById('audio').duration") == pytest.approx(9.45, abs=0.1)


def test_a_folder_with_recordings_and_pages_can_be_moved(browser: Browser, tmp_path: Path) -> None:
    disk, moved = tmp_path / "disk", tmp_path / "another disk"
    audio = disk / "錄音 #1" / "50%: a.flac"
    audio.parent.mkdir(parents=True)
    shutil.copyfile(AUDIO, audio)
    (page_path,) = write(heard(*SPOKEN, path=audio), LocalOutputs(disk / "transcripts", "monday/a", ("html",)))
    disk.rename(moved)
    page = browser.new_page()
    try:
        found = Opened(page)
        page.goto((moved / page_path.relative_to(disk)).as_uri())
        page.wait_for_function("document.getElementById('audio').duration > 9")
        expect(page.locator("#choose")).to_be_hidden()
        assert (
            page.evaluate("document.getElementById('audio').currentSrc") == (moved / audio.relative_to(disk)).as_uri()
        )
        assert found.errors == []
    finally:
        page.close()


def test_audio_that_cannot_be_played_is_reported(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("no audio")
    found = opened(heard(*SPOKEN, path="/nowhere/gone.flac"), ready=False)
    found.page.set_input_files("#file", tmp_path / "notes.wav")
    expect(found.page.locator("#why")).to_contain_text("cannot play notes.wav")


def test_text_is_never_markup(opened: Any) -> None:
    evil = segment(EVIL, 0.5, 2.0).model_copy(update={"channel": EVIL, "language": '"><script>window.pwned=1</script>'})
    untold = segment(EVIL, 3.0, 4.0, words=()).model_copy(update={"timing": "estimated", "committed": False})
    said = heard(evil, untold, path=f"/nowhere/{EVIL}.wav", language='en" onload="window.pwned=1', warnings=(EVIL,))
    coverage = said.coverage.model_copy(update={"missing": (Gap(start=5, end=6, reason=EVIL),)})
    found = opened(said.model_copy(update={"coverage": coverage}), ready=False)
    expect(found.page.locator("#choose")).to_be_visible()
    assert found.page.evaluate("window.pwned") is None
    assert found.page.locator("img, main script, header script").count() == 0
    assert found.page.locator("main p").all_text_contents() == [EVIL, EVIL]
    assert EVIL in found.page.locator(".gap").text_content()
    assert found.page.locator(".tag").all_text_contents() == ["not confirmed", "time estimated"]


def test_no_other_script_may_run_and_no_other_resource_may_load(opened: Any) -> None:
    found = opened(heard(*SPOKEN))
    found.page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'window.pwned = 1';
          document.body.append(script);
          const image = new Image();
          image.src = 'https://example.com/x.png';
        }"""
    )
    found.page.wait_for_function("performance.now() > 0")
    assert found.page.evaluate("window.pwned") is None
    assert sum("Content Security Policy" in error for error in found.errors) == 2


def test_it_reads_on_a_phone_and_in_the_dark(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "said.html"
    path.write_text(render(heard(*SPOKEN, segment("w" * 200, 9.1, 9.4)), "html"), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 640}, color_scheme="dark")
    try:
        page.goto(path.as_uri())
        page.wait_for_selector("body.ready")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        dark, light = page.evaluate(
            """() => ['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name]
              .match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0))"""
        )
        assert light - dark > 500
        bottom = page.evaluate("scrollTo(0, 1e6), document.querySelector('main').getBoundingClientRect().bottom")
        assert bottom <= page.evaluate("document.querySelector('.player').getBoundingClientRect().top")
    finally:
        page.close()


def test_chromium_reads_the_times_of_words_in_vtt(opened: Any) -> None:
    found = opened(heard(*SPOKEN))
    vtt = render(heard(*SPOKEN), "vtt", Style(word_cues=True))
    read = found.page.evaluate(
        """(vtt) => new Promise((done) => {
          const track = document.createElement('track');
          track.src = URL.createObjectURL(new Blob([vtt], { type: 'text/vtt' }));
          track.onload = () => done([...track.track.cues].map((cue) => [
            cue.startTime, cue.endTime, cue.getCueAsHTML().textContent,
            [...cue.getCueAsHTML().childNodes].filter((node) => node.nodeName === 'timestamp').length,
          ]));
          document.getElementById('audio').append(track);
          track.track.mode = 'hidden';
        })""",
        vtt,
    )
    assert [cue[:3] for cue in read] == [
        [0.5, 3.0, "Heavy rain closed several roads."],
        [3.5, 6.0, "我 send 咗個 email 俾你，\n有冇收到呀？"],
        [6.5, 9.0, "Several roads are open again."],
    ]
    assert [cue[3] for cue in read] == [4, 8, 4]  # 有冇, 收到 and "send 咗" are one word each
