from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tones
from tests.support.tones import VOCABULARY, WORD_S, ToneDecoder, ToneWord, decode, encode


def assert_same_words(found: list[ToneWord], expected: list[ToneWord], within_s: float = 0.01) -> None:
    assert [w.number for w in found] == [w.number for w in expected]
    for one, other in zip(found, expected, strict=True):
        assert abs(one.start - other.start) <= within_s, (one, other)


@settings(max_examples=40, deadline=None)
@given(
    numbers=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12),
    gaps_s=st.lists(st.floats(0.06, 0.9), min_size=12, max_size=12),
    amplitude=st.floats(0.01, 1.0),
    rate=st.sampled_from([8000, 11025, 16000, 44100, 48000]),
)
def test_every_word_comes_back(numbers: list[int], gaps_s: list[float], amplitude: float, rate: int) -> None:
    at, words = 0.0, []
    for number, gap_s in zip(numbers, gaps_s, strict=False):
        at += gap_s
        words.append(ToneWord(number, at))
        at += WORD_S
    signal = encode(words, rate, amplitude=amplitude)
    assert_same_words(decode(soxr.resample(signal, rate, 16000)), words)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=6), seed=st.integers(0, 5))
def test_pieces_of_any_size_give_the_same(sizes: list[int], seed: int) -> None:
    signal = encode(tones.speech(12, seed), duration_s=12)
    decoder, found, at = ToneDecoder(), [], 0
    for size in itertools.cycle([max(s, 200) for s in sizes]):
        if at >= len(signal):
            break
        found += decoder.feed(signal[at : at + size])
        at += size
    found += decoder.flush()
    whole = decode(signal)
    assert [w.number for w in found] == [w.number for w in whole]
    np.testing.assert_allclose([w.start for w in found], [w.start for w in whole], atol=1e-4)


@pytest.mark.parametrize("number", [0, 1, 42, 9999, 65535])
def test_a_word_cut_at_either_edge_is_not_reported(number: int) -> None:
    signal = encode([ToneWord(number, 0.0)], tail_s=0)
    assert [w.number for w in decode(signal)] == [number]
    for cut in range(600, len(signal), 100):
        assert decode(signal[cut:]) == []
        assert decode(signal[:-cut]) == []


def test_a_cut_word_does_not_hide_its_neighbours() -> None:
    words = [ToneWord(n, 0.3 * n) for n in range(1, 6)]
    signal = encode(words)
    inside = signal[round(0.4 * 16000) : round(1.6 * 16000)]
    assert [w.number for w in decode(inside)] == [2, 3, 4]


def test_a_garbled_word_is_never_another_one() -> None:
    rng = np.random.default_rng(1)
    for number in tones.random_numbers(150, seed=3):
        signal = encode([ToneWord(number, 0.1)])
        other = encode([ToneWord(int(rng.integers(VOCABULARY)), 0.1)])
        symbol = round(0.032 * 16000)
        for at in rng.choice(np.arange(1, 7), 2, replace=False):
            part = slice(1600 + at * symbol, 1600 + (at + 1) * symbol)
            signal[part] = other[part]
        assert [w.number for w in decode(signal)] in ([], [number])


def test_noise_speech_like_sweeps_and_silence_hold_no_words() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(16000 * 60) / 16000
    sweep = np.sin(2 * np.pi * (300 + 40 * t) * t) * 0.3
    voice = sum(np.sin(2 * np.pi * k * 140 * t + np.sin(3 * t)) / k for k in range(1, 20)) * 0.1
    for signal in (rng.standard_normal(16000 * 60) * 0.1, sweep, voice, np.zeros(16000)):
        assert decode(signal.astype(np.float32)) == []


def test_words_are_heard_above_noise() -> None:
    words = list(tones.speech(20, seed=4))
    signal = encode(words, duration_s=20, amplitude=0.2)
    noise = np.random.default_rng(0).standard_normal(len(signal)) * 0.02
    assert_same_words(decode(signal + noise.astype(np.float32)), words)


def test_streams_are_encoded_without_being_held() -> None:
    blocks = tones.encode_blocks(tones.speech(1e9), 8000)
    assert len(next(blocks)) == 8000
    assert len(next(blocks)) == 8000


def test_blocks_equal_the_whole() -> None:
    words = list(tones.speech(6, seed=2))
    for block_s in (0.1, 0.7, 1.0, 10.0):
        blocks = list(tones.encode_blocks(words, 22050, duration_s=6, block_s=block_s))
        np.testing.assert_array_equal(np.concatenate(blocks), encode(words, 22050, duration_s=6))


def test_length_and_overlap() -> None:
    assert len(encode([], duration_s=2)) == 32000
    assert len(encode([ToneWord(1, 1.0)], tail_s=0.5)) == round((1.0 + WORD_S + 0.5) * 16000)
    with pytest.raises(ValueError, match="before the word before it ends"):
        encode([ToneWord(1, 0.0), ToneWord(2, 0.1)])
    with pytest.raises(ValueError, match="vocabulary"):
        encode([ToneWord(VOCABULARY, 0.0)])


def test_sentences_are_seeded_and_have_pauses() -> None:
    first = list(itertools.islice(tones.sentences(7), 10))
    assert first == list(itertools.islice(tones.sentences(7), 10))
    assert first != list(itertools.islice(tones.sentences(8), 10))
    for one, following in itertools.pairwise(first):
        assert following[0].start - one[-1].end >= 0.8
    numbers = [w.number for sentence in tones.sentences(1, numbers=range(20)) for w in sentence]
    assert numbers == list(range(20))


@pytest.mark.parametrize(("text", "number"), [("w00042", 42), ("W65535.", 65535), ("w42", None), ("hello", None)])
def test_word_text(text: str, number: int | None) -> None:
    assert tones.word_number(text) == number


def test_every_number_is_its_own() -> None:
    codes = {tuple(tones._symbols(number)) for number in range(VOCABULARY)}
    assert len(codes) == VOCABULARY
    assert all(tones._number(tones._symbols(n)[1:]) == n for n in range(0, VOCABULARY, 97))


@pytest.mark.bench
def test_decoding_is_cheap() -> None:
    signal = encode(tones.speech(300), duration_s=300)
    began = time.process_time()
    decode(signal)
    assert 300 / (time.process_time() - began) > 300
