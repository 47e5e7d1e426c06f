"""Measures the embedded recognizer with several settings: `python -m tests.bench.devices [cpu|cuda]`.

Prints the seconds of audio that are recognized in a second of wall time, for each number type and batch size that the
device supports. Set STT_SERVER_COMPUTE_TYPE and STT_SERVER_BATCH_SIZE to the best ones.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from tests.bench.say import say
from tests.evaluate.transcribers import whole_file
from tests.samples.make import HERE
from worker import settings
from worker.server import recognizers
from worker.server.recognizers import SAMPLE_RATE, BatchRecognizer, Samples

TYPES = ("int8", "int8_float32", "int8_float16", "float16", "bfloat16", "float32")
BATCHES = (1, 2, 4, 8, 16)
GROUPS = 16
GROUP_S = 18


def main(device: str, model: str) -> None:
    # Part of the extra `local`. The tests of the documentation import this module without it.
    import ctranslate2

    speech = np.concatenate([whole_file(HERE / name) for name in ("news.flac", "phone-call.wav", "interview.mp3")])
    groups = [[np.resize(speech, GROUP_S * SAMPLE_RATE)] for _ in range(GROUPS)]
    supported = ctranslate2.get_supported_compute_types(device)
    for compute_type in (name for name in TYPES if name in supported):
        given = {"server_device": device, "server_compute_type": compute_type, **({"model": model} if model else {})}
        engine = recognizers.load(settings.load({}, **given))
        if not isinstance(engine, BatchRecognizer):
            raise SystemExit("this engine has no batches")
        for size in BATCHES:
            speed = _speed(engine, groups, size)
            say(f"{device} {compute_type:13} batch {size:2}: {speed:6.1f} seconds of audio per second in one thread")
        engine.close()


def _speed(engine: BatchRecognizer, groups: Sequence[Sequence[Samples]], size: int) -> float:
    engine.recognize_batch(groups[:size])  # the first call loads libraries of the device
    began = time.perf_counter()
    for first in range(0, len(groups), size):
        engine.recognize_batch(groups[first : first + size])
    return len(groups) * GROUP_S / (time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu", sys.argv[2] if len(sys.argv) > 2 else "")
