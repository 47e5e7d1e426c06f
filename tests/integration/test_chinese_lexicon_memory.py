"""The Chinese word list: its memory, measured in a separate process (resident memory), and its source."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.chinese_word_list import LICENSE, license_text, word_list
from worker.transcript.subtitles.chinese_lexicon import WORD_LIST

MAX_MEMORY_BYTES = 30_000_000

_MEASURE = """
import json, resource
import numpy
from worker.transcript.subtitles import chinese_lexicon, chinese_words
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
at_import = chinese_lexicon._words.cache_info().currsize
list(chinese_words.word_begins("我哋去茶餐廳食雲吞麵"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"peak_bytes": peak * 1024, "read_at_import": at_import}))
"""


def test_the_list_is_read_at_first_use_within_its_memory() -> None:
    done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    assert measured["peak_bytes"] <= MAX_MEMORY_BYTES
    assert not measured["read_at_import"]


def test_the_word_list_and_its_licence_are_those_of_the_package() -> None:
    assert WORD_LIST.read_bytes() == word_list()
    assert LICENSE.read_text(encoding="utf-8") == license_text()
