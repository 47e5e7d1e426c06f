"""Looks up Chinese words and their frequencies in a word list. No output.

The list has 569,613 words of Cantonese and Mandarin in both scripts, from the package cantoseg 0.0.1 (MIT licence,
https://pypi.org/project/cantoseg/; its licence is in `chinese_words.LICENSE`). It is read at the first lookup, not at
import. `python -m tests.support.chinese_word_list` writes it from the package. The package itself is not installed with
stt-batch, because it requires 42 MB of other packages.

A word is one number: a hash of 46 bits and its frequency. In this form, all words need 3 MB on disk and 5 MB of memory;
as strings, they would need 60 MB of memory. A text of 20 characters gives at most 160 candidates. The chance that one
of these has the hash of another word is below 1 in 700,000. The only consequence is one wrong line break.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_WORD: Final = 8
"""Maximum length of a word. Longer words are left out: most are names of organisations, proverbs or titles."""
WORD_LIST: Final = Path(__file__).with_name("chinese_words.bin")
COST_BITS: Final = np.uint64(18)
COSTS_PER_NAT: Final = 12
"""Costs in the file are bytes: from 0 to 21 nats."""
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_COST_MASK: Final = np.uint64((1 << 18) - 1)


class Candidate(NamedTuple):
    """A word of the list at a position of a text."""

    begin: int
    end: int
    cost: float
    """Negative natural logarithm of the relative frequency of the word."""


def candidates(text: str) -> Iterator[Candidate]:
    """Yield all words of the list in a text, also those that overlap, in no particular order."""
    words = _words()
    codes = _codes(text)
    hashes = [codes]
    for size in range(2, min(MAX_WORD, len(text)) + 1):
        hashes.append(extend(hashes[-1][:-1], codes[size - 1 :]))
    # One search for the words of all sizes: a call costs more than the lookup of a short text.
    keys = word_keys(np.concatenate(hashes))
    at = np.minimum(np.searchsorted(words, keys), len(words) - 1)
    found = words[at]
    hits = np.flatnonzero(found & ~_COST_MASK == keys)
    costs = ((found[hits] & _COST_MASK) / COSTS_PER_NAT).tolist()
    offset, size = 0, 1
    for hit, cost in zip(hits.tolist(), costs, strict=True):
        while hit >= offset + len(hashes[size - 1]):
            offset += len(hashes[size - 1])
            size += 1
        yield Candidate(hit - offset, hit - offset + size, cost)


def _codes(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)


def extend(hashes: NDArray[np.uint64], codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of words that have one more character."""
    mixed = (hashes ^ (hashes >> np.uint64(29))) * _MULTIPLIER
    extended: NDArray[np.uint64] = mixed + codes
    return extended


def word_keys(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Multiply the hashes and return their upper 46 bits. The multiplication makes the upper bits depend on the lower
    bits, which are dropped."""
    keys: NDArray[np.uint64] = ((hashes ^ (hashes >> np.uint64(29))) * _MULTIPLIER) & ~_COST_MASK
    return keys


@cache
def _words() -> NDArray[np.uint64]:
    """Read the word list. In ascending order, each number has the hash of a word in its upper 46 bits, and its cost in
    its lower bits.

    The file has the differences between the hashes as 32-bit numbers with the lowest byte first, then a byte for the
    cost of each word."""
    content = np.fromfile(WORD_LIST, dtype=np.uint8)
    count = len(content) // 5
    differences = content[: 4 * count].view("<u4")
    words = np.cumsum(differences, dtype=np.uint64)
    words <<= COST_BITS
    words |= content[4 * count :]
    return words
