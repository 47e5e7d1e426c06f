"""The segmenter: utterances do not depend on the chunks of audio, and no audio is lost at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.service import tones
from tests.support.tone_recognizer import ToneVoiceDetector
from tests.support.tones import decode
from worker.server.endpointing import EndpointingRules
from worker.server.speech_segmenter import SpeechSegmenter, Utterance


def listen(pcm: bytes, rate: int, sizes: list[int], wanted: EndpointingRules | None = None) -> list[Utterance]:
    samples = np.frombuffer(pcm, "<i2")
    segmenter = SpeechSegmenter(rate, ToneVoiceDetector(), wanted or EndpointingRules())
    found, at = [], 0
    for size in sizes:
        found += segmenter.process(samples[at : at + size])
        at += size
    found += segmenter.process(samples[at:])
    found += segmenter.finish()
    assert segmenter.received_s == pytest.approx(len(samples) / rate)
    return found


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([8000, 16000, 22050, 48000]), st.lists(st.integers(1, 30_000), max_size=40))
def test_utterances_do_not_depend_on_the_size_of_the_chunks(rate: int, sizes: list[int]) -> None:
    _, pcm = tones(8, rate)
    whole, parts = listen(pcm, rate, []), listen(pcm, rate, sizes)
    assert [(u.start_s, u.end_s, u.voice_start_s) for u in whole] == [
        (u.start_s, u.end_s, u.voice_start_s) for u in parts
    ]
    for one, other in zip(whole, parts, strict=True):
        for (at, a), (again, b) in zip(one.pieces, other.pieces, strict=True):
            assert at == again
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "wanted", [EndpointingRules(), EndpointingRules(commit_silence_s=1.5, max_segment_s=36, early_after_s=float("inf"))]
)
def test_every_word_is_in_one_utterance_at_its_time(wanted: EndpointingRules) -> None:
    words, pcm = tones(60, 44100)
    heard = [
        (word.text, u.start_s + at + word.start)
        for u in listen(pcm, 44100, [11025] * 300, wanted)
        for at, samples in u.pieces
        for word in decode(samples)
    ]
    assert [text for text, _ in heard] == [word.text for word in words]
    assert [start for _, start in heard] == pytest.approx([word.start for word in words], abs=0.03)


def test_an_utterance_ends_with_the_audio_not_with_the_padding() -> None:
    words, pcm = tones(5)
    end = round((words[0].end + 0.01) * 16000) * 2
    (utterance,) = listen(pcm[:end], 16000, [])
    assert utterance.end_s == end / 2 / 16000
    assert sum(len(samples) for _, samples in utterance.pieces) == round(utterance.duration_s * 16000)


def test_memory_is_bounded_in_silence_and_in_endless_noise() -> None:
    for level in (0, 8000):
        segmenter = SpeechSegmenter(16000, ToneVoiceDetector(), EndpointingRules())
        for _ in range(120):
            segmenter.process(np.full(16000, level, np.int16))
            assert len(segmenter._buffer) <= 21 * 16000
        assert segmenter.received_s == 120


def test_open_speech_starts_after_the_last_utterance() -> None:
    words, pcm = tones(5)
    segmenter = SpeechSegmenter(16000, ToneVoiceDetector(), EndpointingRules())
    samples = np.frombuffer(pcm, "<i2")
    assert segmenter.open_start is None
    assert len(segmenter.open_speech()) == 0
    segmenter.process(samples[: round((words[1].end + 0.05) * 16000)])
    assert [word.text for word in decode(segmenter.open_speech())] == [words[0].text, words[1].text]
