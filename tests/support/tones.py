"""Tone-coded speech: numbered words as short tone bursts that a decoder reads back from PCM with their times.

A word is 7 symbols of 32 ms (224 ms in all): a preamble at 2625 Hz, four data symbols of 16 frequencies (65,536
numbers) and two check symbols. All tones are between 500 and 2625 Hz, in whole cycles per symbol, so they survive 8 kHz
telephony, lossy codings, resampling, downmix and gain. The two check symbols form a code of distance 3 over GF(16): a
word with one or two wrong symbols is never taken for another, and a word cut at an edge is not reported at all.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

VOCABULARY = 1 << 16
SYMBOL_S = 0.032
SYMBOLS = 7
WORD_S = SYMBOL_S * SYMBOLS
DECODE_RATE = 16000

_TONES_HZ = [500 + 125 * k for k in range(16)]
_PREAMBLE = 16
_ALL_HZ = np.array([*_TONES_HZ, 2625], dtype=np.float64)
_EDGE_S = 0.004
_SYMBOL = round(SYMBOL_S * DECODE_RATE)  # 512 samples
_HOP = 64
_PIECE = 10 * DECODE_RATE  # samples decoded at once: a spectrum is 16 times the size of its samples
_STEP = _SYMBOL // _HOP  # hops to a symbol
_SPAN = (SYMBOLS - 1) * _STEP  # hops from the first symbol to the last
_MARGIN = 2 * _STEP  # hops within which a better position of the same word may follow
_PURITY = 0.45  # minimum share of a symbol's energy in its tone
_FLOOR = 10 ** (-65 / 20)  # RMS below which there is no tone


@dataclass(frozen=True, slots=True)
class ToneWord:
    """A numbered word. `start`, `end`: seconds from the start of the signal."""

    number: int
    start: float

    @property
    def end(self) -> float:
        return self.start + WORD_S

    @property
    def text(self) -> str:
        return word_text(self.number)


def word_text(number: int) -> str:
    """The word in a transcript: 42 -> w00042."""
    return f"w{number:05d}"


def word_number(text: str) -> int | None:
    """The number of a word in a transcript, without punctuation, or None if it is not a tone word."""
    bare = text.strip(" .,!?…").lower()
    return int(bare[1:]) if len(bare) == 6 and bare[0] == "w" and bare[1:].isdecimal() else None


# -- code ------------------------------------------------------------------------------------------------------------
def _gf_times_alpha(value: int) -> int:
    value <<= 1
    return value ^ 0b10011 if value & 16 else value


def _checks(data: Iterable[int]) -> tuple[int, int]:
    plain = weighted = 0
    for value in data:
        plain ^= value
        weighted = _gf_times_alpha(weighted ^ value)
    return plain, weighted


def _symbols(number: int) -> list[int]:
    if not 0 <= number < VOCABULARY:
        raise ValueError(f"no tone word {number}: the vocabulary is 0 to {VOCABULARY - 1}")
    mixed = (number * 40503 + 12345) % VOCABULARY  # so that neighbours do not sound alike
    data = [mixed >> 12, mixed >> 8 & 15, mixed >> 4 & 15, mixed & 15]
    return [_PREAMBLE, *data, *_checks(data)]


_UNMIX = pow(40503, -1, VOCABULARY)


def _number(symbols: list[int]) -> int | None:
    """The number of six symbols (without the preamble), or None if the check fails."""
    data = symbols[:4]
    if tuple(symbols[4:]) != _checks(data):
        return None
    mixed = data[0] << 12 | data[1] << 8 | data[2] << 4 | data[3]
    return (mixed - 12345) * _UNMIX % VOCABULARY


# -- encode ----------------------------------------------------------------------------------------------------------
def _burst(number: int, t: npt.NDArray[np.float64], amplitude: float) -> Samples:
    """The signal of a word at times `t` (seconds from its start), and 0 outside the word."""
    index = np.floor(t / SYMBOL_S).astype(np.int64)
    inside = (index >= 0) & (index < SYMBOLS)
    hz = _ALL_HZ[np.array(_symbols(number))[np.clip(index, 0, SYMBOLS - 1)]]
    edge = np.clip(np.minimum(t, WORD_S - t) / _EDGE_S, 0, 1)
    return (inside * amplitude * edge * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def encode_blocks(
    words: Iterable[ToneWord],
    sample_rate: int = 16000,
    *,
    duration_s: float | None = None,
    tail_s: float = 0.5,
    amplitude: float = 0.4,
    block_s: float = 1.0,
) -> Iterator[Samples]:
    """Yield mono float32 blocks with `words` (in order, without overlaps) and `tail_s` of silence after the last word,
    or up to `duration_s`. Only one block is in memory."""
    block_samples = round(block_s * sample_rate)
    pending = iter(words)
    word = next(pending, None)
    at = 0
    last_end = 0.0
    open_words: list[ToneWord] = []
    total = None if duration_s is None else round(duration_s * sample_rate)
    while True:
        until = at + block_samples
        while word is not None and word.start * sample_rate < until:
            if word.start < last_end - 1e-9:
                raise ValueError(f"{word} starts before the word before it ends")
            open_words.append(word)
            last_end = word.end
            word = next(pending, None)
        if word is None and total is None:
            total = round((last_end + tail_s) * sample_rate)
        size = block_samples if total is None else min(block_samples, total - at)
        if size <= 0:
            return
        block = np.zeros(size, dtype=np.float32)
        for one in open_words:
            first = max(0, int(np.ceil(one.start * sample_rate)) - at)
            last = min(size, int(np.ceil(one.end * sample_rate)) - at)
            if last > first:
                t = (np.arange(at + first, at + last) / sample_rate) - one.start
                block[first:last] += _burst(one.number, t, amplitude)
        open_words = [one for one in open_words if one.end * sample_rate > at + size]
        at += size
        yield block


def encode(
    words: Iterable[ToneWord],
    sample_rate: int = 16000,
    *,
    duration_s: float | None = None,
    tail_s: float = 0.5,
    amplitude: float = 0.4,
) -> Samples:
    """The blocks of `encode_blocks` in one array."""
    blocks = encode_blocks(words, sample_rate, duration_s=duration_s, tail_s=tail_s, amplitude=amplitude)
    return np.concatenate([np.zeros(0, np.float32), *blocks])


# -- texts -----------------------------------------------------------------------------------------------------------
def sentences(
    seed: int = 0,
    *,
    numbers: Iterable[int] | None = None,
    words: tuple[int, int] = (3, 9),
    gap_s: tuple[float, float] = (0.08, 0.2),
    pause_s: tuple[float, float] = (0.8, 1.6),
    lead_s: float = 0.4,
) -> Iterator[list[ToneWord]]:
    """Yield endless sentences, or until `numbers` ends: words close together, with pauses between sentences.

    Numbers rise by one from a seeded start by default, so that a lost or doubled word is seen at once.
    """
    rng = random.Random(seed)
    first = rng.randrange(VOCABULARY)
    source = iter(numbers if numbers is not None else (n % VOCABULARY for n in itertools.count(first)))
    at = lead_s
    while sentence := list(itertools.islice(source, rng.randint(*words))):
        placed = []
        for number in sentence:
            placed.append(ToneWord(number, at))
            at += WORD_S + rng.uniform(*gap_s)
        yield placed
        at += rng.uniform(*pause_s)


def speech(duration_s: float, seed: int = 0, **options: object) -> Iterator[ToneWord]:
    """The words of `sentences` that end by `duration_s` seconds."""
    for sentence in sentences(seed, **options):  # type: ignore[arg-type]
        for word in sentence:
            if word.end > duration_s:
                return
            yield word


def random_numbers(count: int, seed: int = 0) -> list[int]:
    """All numbers in random order, each once."""
    return random.Random(seed).sample(range(VOCABULARY), count)


# -- decode ----------------------------------------------------------------------------------------------------------
# Each tone is one bin of a transform as long as a symbol. The symbols of neighbouring hops share all but one
# hop, so the transform is the sum over its hops, which takes an eighth of the work.
_CYCLES = np.rint(_ALL_HZ * SYMBOL_S)[None, :] / _SYMBOL  # of each tone, in a sample
_KERNEL = np.exp(-2j * np.pi * _CYCLES * np.arange(_HOP)[:, None])
_KERNEL = np.concatenate([_KERNEL.real, _KERNEL.imag], axis=1).astype(np.float32)
_TURNS = np.exp(-2j * np.pi * _CYCLES * _HOP * np.arange(_STEP)[:, None]).astype(np.complex64)
_BATCH = 104  # hops in one matrix product: OpenBLAS runs larger ones in threads that cost ten times the work


def _purities(samples: Samples) -> Samples:
    """float32[frames, 17]: the share of each tone in the energy of the 32 ms from each hop (4 ms) on."""
    frames = (len(samples) - _SYMBOL) // _HOP + 1
    count = frames + _STEP - 1
    hops = np.zeros((-(-count // _BATCH) * _BATCH, _HOP), dtype=np.float32)
    hops[:count] = samples[: count * _HOP].reshape(count, _HOP)
    parts = (hops.reshape(-1, _BATCH, _HOP) @ _KERNEL).reshape(-1, _KERNEL.shape[1])
    tones = len(_ALL_HZ)
    turned = (parts[:, :tones] + 1j * parts[:, tones:]) * np.resize(_TURNS, (len(parts), tones))
    spectrum = sum(turned[step : step + frames] for step in range(_STEP))
    energies = np.einsum("ij,ij->i", hops, hops)
    energy = sum(energies[step : step + frames] for step in range(_STEP))
    energy[energy < _SYMBOL * _FLOOR**2] = np.inf
    power = (spectrum.real**2 + spectrum.imag**2) * (2 / _SYMBOL)
    return (power / energy[:, None]).astype(np.float32)


class ToneDecoder:
    """Reads tone words from mono float32 at 16 kHz. The size of the pieces of signal does not affect the words."""

    def __init__(self) -> None:
        self._samples: Samples = np.zeros(0, dtype=np.float32)  # not yet in a whole window
        self._purities: Samples = np.zeros((0, len(_ALL_HZ)), dtype=np.float32)  # of the hops from `_first` on
        self._first = 0
        self._free_from = 0  # hop before which no further word may start

    def feed(self, samples: Samples) -> list[ToneWord]:
        """Add samples. Returns the words that are certain now."""
        self._take(samples)
        return self._scan()

    def flush(self) -> list[ToneWord]:
        """Returns the undecided words at the end of the signal."""
        # The best position of a word at the end may be slightly after the last sample.
        self._take(np.zeros(_HOP * (_MARGIN + 2), dtype=np.float32))
        return self._scan()

    def _take(self, samples: Samples) -> None:
        self._samples = np.concatenate([self._samples, samples])
        if len(self._samples) >= _SYMBOL:
            fresh = _purities(self._samples)
            self._purities = np.concatenate([self._purities, fresh])
            self._samples = self._samples[len(fresh) * _HOP :]

    def _scan(self) -> list[ToneWord]:
        purity = self._purities
        starts = len(purity) - _SPAN  # number of hops at which a whole word fits
        usable = starts - _MARGIN
        if usable <= 0:
            return []
        best = purity[:, :_PREAMBLE].max(axis=1)
        parts = np.stack([purity[:starts, _PREAMBLE], *(best[k : k + starts] for k in range(_STEP, _SPAN + 1, _STEP))])
        score = parts.sum(axis=0)
        clear = parts.min(axis=0) > _PURITY
        words = []
        for start in np.flatnonzero(clear[:usable]):
            if self._first + start < self._free_from:
                continue
            place = int(start + np.argmax(score[start : start + _MARGIN]))
            symbols = purity[place + _STEP : place + _SPAN + 1 : _STEP, :_PREAMBLE].argmax(axis=1).tolist()
            number = _number(symbols)
            if number is None or not clear[place]:
                continue
            hop = self._first + place + _between(score, place)
            words.append(ToneWord(number, max(0.0, hop * _HOP / DECODE_RATE)))
            self._free_from = self._first + place + _SPAN
        # One hop before the next start stays, to interpolate a peak there.
        self._purities = purity[usable - 1 :] if usable > 1 else purity
        self._first += max(0, usable - 1)
        self._free_from = max(self._free_from, self._first + (1 if usable > 1 else 0))
        return words


def _between(score: Samples, place: int) -> float:
    """Position of the peak between hops. The peak is a triangle, the autocorrelation of a symbol."""
    if not 0 < place < len(score) - 1:
        return 0.0
    left, centre, right = (float(v) for v in score[place - 1 : place + 2])
    lower = min(left, right)
    return 0.0 if centre <= lower else 0.5 * (right - left) / (centre - lower)


def decode(samples: Samples) -> list[ToneWord]:
    """The tone words in mono float32 samples at 16 kHz, with times that are exact to a few milliseconds."""
    decoder = ToneDecoder()
    words = []
    for at in range(0, len(samples), _PIECE):
        words += decoder.feed(np.asarray(samples[at : at + _PIECE], dtype=np.float32))
    return words + decoder.flush()


def decode_pcm16(pcm: bytes) -> list[ToneWord]:
    """The tone words in 16-bit little-endian PCM at 16 kHz."""
    return decode(np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768)
