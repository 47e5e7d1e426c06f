"""Tone-coded speech: each word is a number that is coded as a short burst of tones. A decoder finds the words and their
times in PCM.

A word is 7 symbols of 32 ms (224 ms in all): a preamble at 2625 Hz, four data symbols of 16 frequencies (65,536
numbers) and two check symbols. All tones are between 500 and 2625 Hz, in whole cycles per symbol, so they survive 8 kHz
telephony, lossy codecs, resampling, downmix and gain. The two check symbols form a code of distance 3 over GF(16): a
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
_EDGE_S = 0.004  # length of the fade at both ends of a word
_SYMBOL = round(SYMBOL_S * DECODE_RATE)  # 512 samples
_HOP = 64  # samples between two positions at which the decoder looks for a symbol
_PIECE = 10 * DECODE_RATE  # samples decoded at once; limits memory, as a spectrum is 16 times the size of its samples
_STEP = _SYMBOL // _HOP  # hops per symbol
_SPAN = (SYMBOLS - 1) * _STEP  # hops from the start of a word's first symbol to the start of its last
_MARGIN = 2 * _STEP  # hops after a possible start of a word in which a better start of the same word may be found
_PURITY = 0.45  # a symbol must have at least this share of its energy in one tone
_FLOOR = 10 ** (-65 / 20)  # a symbol with a lower RMS level is silence


@dataclass(frozen=True, slots=True)
class ToneWord:
    """A word, which is a number from 0 to VOCABULARY - 1. `start`, `end`: seconds from the start of the signal."""

    number: int
    start: float

    @property
    def end(self) -> float:
        return self.start + WORD_S

    @property
    def text(self) -> str:
        return word_text(self.number)


def word_text(number: int) -> str:
    """Return the text of a word in a transcript. For 42 it is w00042."""
    return f"w{number:05d}"


def word_number(text: str) -> int | None:
    """Parse the text of a word in a transcript. Punctuation around it is ignored. Returns its number, or None if it is
    not a tone word."""
    bare = text.strip(" .,!?…").lower()
    return int(bare[1:]) if len(bare) == 6 and bare[0] == "w" and bare[1:].isdecimal() else None


# -- code ------------------------------------------------------------------------------------------------------------
def _gf_times_alpha(value: int) -> int:
    """Multiply an element of GF(16) by alpha, the generator of the field with the polynomial x^4 + x + 1."""
    value <<= 1
    return value ^ 0b10011 if value & 16 else value


def _checks(data: Iterable[int]) -> tuple[int, int]:
    """Return the two check symbols of the data symbols: their sum and a weighted sum in GF(16)."""
    plain = weighted = 0
    for value in data:
        plain ^= value
        weighted = _gf_times_alpha(weighted ^ value)
    return plain, weighted


def _symbols(number: int) -> list[int]:
    if not 0 <= number < VOCABULARY:
        raise ValueError(f"no tone word {number}: the vocabulary is 0 to {VOCABULARY - 1}")
    mixed = (number * 40503 + 12345) % VOCABULARY  # so that consecutive numbers do not have similar symbols
    data = [mixed >> 12, mixed >> 8 & 15, mixed >> 4 & 15, mixed & 15]
    return [_PREAMBLE, *data, *_checks(data)]


_UNMIX = pow(40503, -1, VOCABULARY)


def _number(symbols: list[int]) -> int | None:
    """Return the number that six symbols (a word without its preamble) code, or None if the check symbols are wrong."""
    data = symbols[:4]
    if tuple(symbols[4:]) != _checks(data):
        return None
    mixed = data[0] << 12 | data[1] << 8 | data[2] << 4 | data[3]
    return (mixed - 12345) * _UNMIX % VOCABULARY


# -- encode ----------------------------------------------------------------------------------------------------------
def _burst(number: int, t: npt.NDArray[np.float64], amplitude: float) -> Samples:
    """Return the signal of a word at the times `t` (seconds from the word's start). It is 0 outside the word."""
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
    """Yield the signal of `words` as mono float32 blocks of `block_s` seconds. Only one block is in memory at a time.

    The signal is `duration_s` seconds long or, if that is None, ends with `tail_s` seconds of silence after the last
    word. Raises ValueError if the words overlap or are not in order.
    """
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
    """Return the signal of `words` in one array. For the arguments see `encode_blocks`."""
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
    """Yield sentences: words with short gaps (`gap_s`), and longer pauses between the sentences (`pause_s`).

    `numbers`: the numbers of the words; the sentences end with them. By default the sentences are endless, and the
    numbers rise by one from a start that depends on `seed`, so that a lost or doubled word is noticed at once. `words`:
    minimum and maximum number of words in a sentence. `lead_s`: silence before the first word. All times in seconds.
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
    """Yield the words of `sentences` that end within the first `duration_s` seconds."""
    for sentence in sentences(seed, **options):  # type: ignore[arg-type]
        for word in sentence:
            if word.end > duration_s:
                return
            yield word


def random_numbers(count: int, seed: int = 0) -> list[int]:
    """Return `count` different numbers of words in random order."""
    return random.Random(seed).sample(range(VOCABULARY), count)


# -- decode ----------------------------------------------------------------------------------------------------------
# The power of each tone is one bin of a Fourier transform as long as a symbol (8 hops). Such a transform is the sum of
# the transforms of its 8 hops, each turned in phase (_TURNS). The transform of a hop is computed once and used in the 8
# symbols that contain the hop, which takes an eighth of the work.
_CYCLES = np.rint(_ALL_HZ * SYMBOL_S)[None, :] / _SYMBOL  # cycles of each tone per sample
_KERNEL = np.exp(-2j * np.pi * _CYCLES * np.arange(_HOP)[:, None])
_KERNEL = np.concatenate([_KERNEL.real, _KERNEL.imag], axis=1).astype(np.float32)
_TURNS = np.exp(-2j * np.pi * _CYCLES * _HOP * np.arange(_STEP)[:, None]).astype(np.complex64)
_BATCH = 104  # hops per matrix product: OpenBLAS runs larger products in threads, which cost ten times the CPU time


def _purities(samples: Samples) -> Samples:
    """Return float32[frames, 17]: the share of each of the 17 tones in the energy of a frame. Frames are as long as a
    symbol (32 ms) and start every hop (4 ms)."""
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
    """Finds tone words in mono float32 at 16 kHz. The words do not depend on how the signal is split into calls."""

    def __init__(self) -> None:
        self._samples: Samples = np.zeros(0, dtype=np.float32)  # samples that are too few for a frame
        # The results of the function `_purities` for the frames that are not decided yet.
        self._purities: Samples = np.zeros((0, len(_ALL_HZ)), dtype=np.float32)
        self._first = 0  # hop at which the first row of `_purities` starts
        self._free_from = 0  # the next word starts at this hop or later

    def feed(self, samples: Samples) -> list[ToneWord]:
        """Add samples. Returns the words whose start later samples cannot change."""
        self._take(samples)
        return self._scan()

    def flush(self) -> list[ToneWord]:
        """End the signal. Returns the remaining words."""
        # Add silence: the best position of the last word may be so late that it ends slightly after the last sample.
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
        # Keep one hop before the next possible start of a word: `_between` needs both neighbours of a peak.
        self._purities = purity[usable - 1 :] if usable > 1 else purity
        self._first += max(0, usable - 1)
        self._free_from = max(self._free_from, self._first + (1 if usable > 1 else 0))
        return words


def _between(score: Samples, place: int) -> float:
    """Interpolate the peak of `score` at `place`. Returns the distance of the real peak from `place`, in hops (-0.5 to
    0.5). The peak is a triangle, because it is the autocorrelation of a symbol."""
    if not 0 < place < len(score) - 1:
        return 0.0
    left, centre, right = (float(v) for v in score[place - 1 : place + 2])
    lower = min(left, right)
    return 0.0 if centre <= lower else 0.5 * (right - left) / (centre - lower)


def decode(samples: Samples) -> list[ToneWord]:
    """Return the tone words in mono float32 samples at 16 kHz. Their times are exact to a few milliseconds."""
    decoder = ToneDecoder()
    words = []
    for at in range(0, len(samples), _PIECE):
        words += decoder.feed(np.asarray(samples[at : at + _PIECE], dtype=np.float32))
    return words + decoder.flush()


def decode_pcm16(pcm: bytes) -> list[ToneWord]:
    """Return the tone words in 16-bit little-endian mono PCM at 16 kHz."""
    return decode(np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768)
