"""Transcribes files with faster-whisper alone: `python -m tests.bench.peer batched|plain FILE...`.

`batched` is its fastest way, `BatchedInferencePipeline` with speech detection and word times on all cores. `plain` is
the script that its documentation shows. The model is that of the embedded recognizer. Prints the texts by file name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from faster_whisper import BatchedInferencePipeline, WhisperModel

from tests.bench.machine import tell
from worker import settings
from worker.server.recognizers import model_files

BATCH_SIZE = 8


def main(way: str, paths: list[str]) -> None:
    config = settings.load({})
    folder = model_files.find(config.model, model_files.cache_folder(config.server_model_cache))
    cores = len(os.sched_getaffinity(0))
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=cores)
    options: dict[str, Any] = {"language": "en", "word_timestamps": True, "vad_filter": True}
    transcribe: Any = model.transcribe
    if way == "batched":
        transcribe = BatchedInferencePipeline(model).transcribe
        options["batch_size"] = BATCH_SIZE
    texts = {}
    for path in paths:
        segments, _ = transcribe(path, **options)
        texts[Path(path).name] = " ".join(segment.text.strip() for segment in segments)
    tell({"texts": texts})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
