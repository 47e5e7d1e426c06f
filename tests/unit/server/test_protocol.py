"""Payloads of clients are accepted or refused; commits have correct word times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.realtime import messages
from worker.server import protocol
from worker.server.recognizers import Recognition, RecognizedWord
from worker.server.speech_segmenter import Utterance

anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["audio_base_64", "sample_rate", "sampleRate", "other"])


@given(st.lists(anything | st.dictionaries(fields, anything), max_size=3))
def test_any_message_is_accepted_or_refused_with_a_reason(args: list[Any]) -> None:
    for read in (lambda: protocol.start_rate(tuple(args)), lambda: protocol.chunk(tuple(args), 16000)):
        told = None
        try:
            read()
        except protocol.ClientMessageRefused as exc:
            told = str(exc)
        assert told is None or told.partition(":")[0] in {"input_error", "chunk_size_exceeded"}


@given(st.integers(8000, 48000), st.binary(min_size=2, max_size=4000).filter(lambda raw: len(raw) % 2 == 0))
def test_valid_audio_is_decoded_unchanged(rate: int, raw: bytes) -> None:
    chunk = protocol.chunk((messages.audio_chunk(pybase64.b64encode_as_string(raw), rate),), rate)
    assert chunk.pcm.tobytes() == raw
    assert chunk.duration_s == len(raw) / 2 / rate
    assert protocol.start_rate((messages.start_session(rate),)) == rate
    assert protocol.start_rate(({"sampleRate": float(rate)},)) == rate


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_the_largest_chunk_is_accepted_and_a_larger_one_refused(rate: int) -> None:
    longest = min(protocol.MAX_CHUNK_BYTES, int(protocol.MAX_CHUNK_S * rate) * 2)
    text = pybase64.b64encode_as_string(bytes(longest))
    assert protocol.chunk(({"audio_base_64": text, "sample_rate": rate},), rate).duration_s == longest / 2 / rate
    text = pybase64.b64encode_as_string(bytes(longest + 6))
    with pytest.raises(protocol.ClientMessageRefused, match=r"^chunk_size_exceeded: "):
        protocol.chunk(({"audio_base_64": text, "sample_rate": rate},), rate)


def heard(start_s: float = 10, end_s: float = 14, voice_start_s: float = 10.35) -> Utterance:
    return Utterance(start_s, end_s, voice_start_s, ((0.0, np.zeros(1, np.float32)),))


def said(*words: tuple[str, float, float], text: str | None = None) -> Recognition:
    return Recognition(
        text if text is not None else " ".join(w[0] for w in words),
        tuple(RecognizedWord(name, start, end, -0.25) for name, start, end in words),
        "en",
    )


def test_both_messages_of_a_commit() -> None:
    plain, timed = protocol.committed(said(("Hello", 0.5, 0.9), ("there.", 1.0, 1.5)), heard())
    assert plain == {"message_type": "committed_transcript", "text": "Hello there."}
    assert timed == {
        "message_type": "committed_transcript_with_timestamps",
        "text": "Hello there.",
        "language_code": "en",
        "words": [
            {"text": "Hello", "start": 10.5, "end": 10.9, "type": "word", "logprob": -0.25},
            {"text": " ", "start": 10.9, "end": 11.0, "type": "spacing", "logprob": 0.0},
            {"text": "there.", "start": 11.0, "end": 11.5, "type": "word", "logprob": -0.25},
        ],
    }


def test_text_without_spaces_has_no_spacing() -> None:
    _, timed = protocol.committed(said(("你", 0.5, 0.6), ("好", 0.6, 0.8), text="你好"), heard())
    assert [w["text"] for w in timed["words"]] == ["你", "好"]


def test_a_first_word_in_the_silence_before_the_voice_is_moved_to_the_voice() -> None:
    _, timed = protocol.committed(said(("Hello", 0.0, 0.9), ("there", 0.9, 1.5)), heard())
    assert timed["words"][0]["start"] == pytest.approx(10.30)
    assert timed["words"][0]["end"] == 10.9
    _, timed = protocol.committed(said(("A", 0.0, 0.2)), heard())
    assert timed["words"][0]["start"] == pytest.approx(10.15), "but never after its own end"


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b.", "word"]), st.floats(-1, 6), st.floats(-1, 6)), max_size=8),
    st.floats(0, 1e5),
    st.floats(0.05, 30),
    st.floats(0, 1),
)
def test_word_times_rise_and_stay_within_the_utterance(
    words: list[tuple[str, float, float]], start_s: float, duration_s: float, voice: float
) -> None:
    stretch = heard(start_s, start_s + duration_s, start_s + voice * duration_s)
    _, timed = protocol.committed(said(*words), stretch)
    times = [t for word in timed["words"] for t in (word["start"], word["end"])]
    assert times == sorted(times)
    assert all(stretch.start_s - 0.001 <= t <= stretch.end_s + 0.001 for t in times)
    assert "".join(word["text"] for word in timed["words"]) == timed["text"]


def test_pieces_become_one_recognition() -> None:
    whole = protocol.joined(
        [(0.0, said(("One", 0.5, 1.0))), (18.5, Recognition("")), (19.0, said(("two.", 0.25, 0.75)))]
    )
    assert whole.text == "One two."
    assert [(w.text, w.start, w.end) for w in whole.words] == [("One", 0.5, 1.0), ("two.", 19.25, 19.75)]
    assert whole.language == "en"
    assert protocol.joined([(0, Recognition("你好")), (1, Recognition("世界"))]).text == "你好世界"
    assert protocol.joined([(0, Recognition(""))]) == Recognition("")
