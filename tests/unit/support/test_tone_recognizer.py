from __future__ import annotations

import numpy as np

from tests.support.tone_recognizer import ENGINE
from tests.support.tones import WORD_S, ToneWord, encode
from worker import settings
from worker.audio.segmentation.speech_detector import VOICE_WINDOW
from worker.server.recognizers import SAMPLE_RATE, load

WORDS = [ToneWord(7, 0.5), ToneWord(8, 0.9), ToneWord(9, 3.0)]


def test_is_loaded_by_name_and_recognizes() -> None:
    recognizer = load(settings.load({}, server_recognizer=ENGINE))
    found = recognizer.recognize(encode(WORDS), final=True)
    assert found.text == "w00007 w00008 w00009"
    assert [w.text for w in found.words] == found.text.split()
    np.testing.assert_allclose([w.start for w in found.words], [w.start for w in WORDS], atol=0.005)
    np.testing.assert_allclose([w.end for w in found.words], [w.start + WORD_S for w in WORDS], atol=0.005)
    assert recognizer.recognize(encode(WORDS), final=False).words == ()
    assert recognizer.recognize(np.zeros(16000, np.float32), final=True).text == ""


def test_voice_is_where_the_words_are() -> None:
    detector = load(settings.load({}, server_recognizer=ENGINE)).voice_detector()
    signal = encode(WORDS, duration_s=4.0)
    voice = detector(signal[: len(signal) // VOICE_WINDOW * VOICE_WINDOW]) > 0.5
    heard_s = voice.sum() * VOICE_WINDOW / SAMPLE_RATE
    assert 3 * WORD_S <= heard_s <= 3 * (WORD_S + 0.064)
    assert not voice[: int(0.5 * SAMPLE_RATE) // VOICE_WINDOW - 1].any()
