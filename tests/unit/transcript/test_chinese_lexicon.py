"""The word list of Chinese: its limits of memory and time, and its entries."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np

from worker.transcript.subtitles import chinese_lexicon
from worker.transcript.subtitles.chinese_lexicon import candidates
from worker.transcript.subtitles.chinese_words import word_begins
from worker.transcript.subtitles.line_breaks import breaks

MAX_MEMORY_BYTES = 30_000_000
MAX_DISK_BYTES = 10_000_000
MAX_CPU_S_PER_CHARACTER = 100e-6
"""Five times the limit of 20 microseconds, because the machine of a test may be slow."""


def test_reading_the_list_stays_within_its_memory() -> None:
    tracemalloc.start()
    try:
        chinese_lexicon._index.__wrapped__()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MAX_MEMORY_BYTES


def test_the_list_and_its_index_fit_their_disk_space() -> None:
    assert chinese_lexicon._word_list().stat().st_size <= MAX_DISK_BYTES


def test_the_index_has_each_word_once_with_its_largest_count() -> None:
    words = chinese_lexicon._index().words
    assert len(words) > 500_000
    assert np.all(np.diff(words >> np.uint64(16)) > 0)
    cost = {(c.begin, c.end): c.cost for c in candidates("我哋食飯")}
    assert {(0, 1), (0, 2), (2, 3), (2, 4)} <= cost.keys()
    assert (1, 3) not in cost
    assert 2 < cost[0, 1] < cost[2, 4] < 18


def test_entries_are_read_with_and_without_a_part_of_speech() -> None:
    text = "我哋 12 r\n雲吞麵 345\n一二三四五六七八九 7 n\n"
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    words, total = chinese_lexicon._entries(codes)
    assert len(words) == 2  # the word of nine characters is too long
    assert total == 357


def test_words_and_breaks_of_new_text_are_found_in_time() -> None:
    list(word_begins("我哋"))
    texts = [
        f"佢琴晚喺{chr(0x4E00 + k)}角，話 call {k} 個客，「收咗」${k}.50…{chr(0x5E00 + k)}掂晒" for k in range(500)
    ]
    begun = time.process_time()
    for text in texts:
        list(word_begins(text))
        breaks(text)
    assert (time.process_time() - begun) / sum(map(len, texts)) < MAX_CPU_S_PER_CHARACTER
