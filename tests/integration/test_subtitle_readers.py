"""FFmpeg and a browser read subtitles of text that looks like markup as the same visible characters."""

from __future__ import annotations

import base64
import io

import av

from tests.support.browser import chromium
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from tests.unit.transcript.test_hostile_text import HOSTILE, expected, plain, spoken


def test_ffmpeg_reads_srt() -> None:
    srt = render(transcript(*spoken(list(HOSTILE))), "srt")
    with av.open(io.BytesIO(srt.encode()), format="srt") as file:
        lines = [line.ass.decode() for packet in file.demux(file.streams.subtitles[0]) for line in packet.decode()]
    shown = [line.split(",", 8)[8].replace("\\N", " ") for line in lines]
    assert [plain(line) for line in shown] == expected(list(HOSTILE))


def test_a_browser_reads_vtt() -> None:
    vtt = render(transcript(*spoken(list(HOSTILE)), segment("end", 1000, 1001)), "vtt")
    address = "data:text/vtt;base64," + base64.b64encode(vtt.encode()).decode()
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(f'<video><track default kind="subtitles" src="{address}"></video>')
        page.wait_for_function("document.querySelector('track').readyState == 2")
        texts = page.evaluate(
            "[...document.querySelector('track').track.cues].map(cue => cue.getCueAsHTML().textContent)"
        )
    assert [plain(text) for text in texts] == [*expected(list(HOSTILE)), "end"]
