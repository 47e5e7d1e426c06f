"""The libraries of the recognizer print nothing outside the configured log."""

from __future__ import annotations

import logging

import pytest

ctranslate2 = pytest.importorskip("ctranslate2")


def test_loading_a_model_silences_its_libraries() -> None:
    from worker.server.recognizers import whisper

    hub, handler, level = logging.getLogger("huggingface_hub"), logging.StreamHandler(), ctranslate2.get_log_level()
    hub.addHandler(handler)
    try:
        whisper._silence_libraries()
        assert ctranslate2.get_log_level() == logging.CRITICAL
        assert handler not in hub.handlers
        assert hub.propagate
    finally:
        hub.removeHandler(handler)
        ctranslate2.set_log_level(level)
