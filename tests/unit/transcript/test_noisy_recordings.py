"""Recordings with background noise: text and times are checked against the sound above the noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice

import numpy as np
import pytest

from tests.evaluate import corpus
from tests.support import sounds
from tests.support.sounds import RATE
from tests.support.tones import Samples, encode, sentences
from worker.audio.pcm_frames import to_pcm16
from worker.audio.voice_activity import VoiceActivityMap, frames_with_voice
from worker.realtime.commit_pairing import Commit
from worker.realtime.messages import WireWord
from worker.session_timeline import Timeline
from worker.transcript.assemble import Assembler
from worker.transcript.model import Segment

Sentence = Sequence[tuple[float, float, str]]  # start, end and text of each word
FRAME = RATE // 5


def babble(duration_s: float, level_db: float = -45.0) -> Samples:
    """Pink noise with a level that varies like many voices."""
    steps = np.arange(0, duration_s + 1, 0.15)
    gain_db = np.random.default_rng(5).normal(0, 3, len(steps))
    gain = 10 ** (np.interp(np.arange(int(duration_s * RATE)) / RATE, steps, gain_db) / 20)
    return (sounds.noise(duration_s, level_db, 1) * gain).astype(np.float32)


STEADY: dict[str, Callable[[float], Samples]] = {
    "white -45": lambda s: sounds.noise(s, -45),
    "white -55": lambda s: sounds.noise(s, -55),
    "pink -50": lambda s: sounds.noise(s, -50, 1),
    "white -30": lambda s: sounds.noise(s, -30),
    "pink -45": lambda s: sounds.noise(s, -45, 1),
    "rumble": lambda s: sounds.noise(s, -45, 2),
    "hum and hiss": lambda s: sounds.hum(s, 50, 0.01) + sounds.noise(s, -50),
}
RESTLESS: dict[str, Callable[[float], Samples]] = {
    "babble": babble,
    "loud babble": lambda s: babble(s, -30),
    "music": lambda s: 0.2 * sounds.hold_music(s),
}


@cache
def spoken(seed: int = 3, count: int = 6, tail_s: float = 3.0) -> tuple[Samples, list[Sentence]]:
    said = list(islice(sentences(seed, words=(3, 6)), count))
    signal = encode([word for sentence in said for word in sentence], tail_s=tail_s)
    return signal, [[(w.start, w.end, w.text) for w in sentence] for sentence in said]


def commit(words: Sentence, late_s: float, sent_s: float) -> Commit:
    wire = tuple(WireWord(text, start + late_s, end + late_s, 0.9) for start, end, text in words)
    return Commit(" ".join(w.text for w in wire), wire, None, int(sent_s * RATE))


class Session:
    """Streams a signal to an assembler, up to the end of each commit."""

    def __init__(self, signal: Samples, *, paced: bool) -> None:
        self._paced, self._length_s = paced, len(signal) / RATE
        self._voice, self._line = VoiceActivityMap(RATE), Timeline(RATE)
        self._assembler = Assembler(self._voice, paced=paced)
        pcm = to_pcm16(signal).tobytes()
        pieces = (pcm[at : at + 2 * FRAME] for at in range(0, len(pcm), 2 * FRAME))
        self._frames = frames_with_voice(pieces, 0, RATE, FRAME)
        self._sent_s = 0.0

    def place(
        self, words: Sentence, *, late_s: float = 0.0, behind_s: float = 1.4, spoken_until_s: float | None = None
    ) -> Segment | None:
        """`spoken_until_s`: true end of the last word, if its time in `words` is wrong."""
        until_s = words[-1][1] if spoken_until_s is None else spoken_until_s
        end_s = min(until_s + behind_s, self._length_s) if self._paced else self._length_s
        while self._sent_s < end_s and (frame := next(self._frames, None)):
            self._line.add_audio(frame.file_start, frame.samples)
            self._voice.add(frame)
            self._sent_s = (frame.file_start + frame.samples) / RATE
        return self._assembler.place(commit(words, late_s, end_s), self._line)


def errors_s(plan: Sequence[Sentence], segments: Sequence[Segment | None]) -> list[float]:
    """Maximum time error of the words of each commit in seconds; infinite if words are lost."""
    errors = []
    for words, segment in zip(plan, segments, strict=True):
        places = segment.words if segment else ()
        same = len(places) == len(words)
        errors.append(max(abs(p.start - w[0]) for p, w in zip(places, words, strict=True)) if same else float("inf"))
    return errors


both_paces = pytest.mark.parametrize("paced", [True, False], ids=["1x", "max"])
steady = pytest.mark.parametrize("noise", STEADY.values(), ids=STEADY)
any_noise = pytest.mark.parametrize("noise", (STEADY | RESTLESS).values(), ids=(STEADY | RESTLESS).keys())


@cache
def noisy(noise: Callable[[float], Samples]) -> tuple[Samples, list[Sentence]]:
    signal, plan = spoken()
    return signal + noise(len(signal) / RATE + 1)[: len(signal)], plan


@both_paces
@steady
@pytest.mark.parametrize("step_s", [0.1, -0.15])
@pytest.mark.gate_sample(6)
def test_a_drift_is_corrected_in_noise(noise: Callable[[float], Samples], step_s: float, paced: bool) -> None:
    signal, plan = noisy(noise)
    session = Session(signal, paced=paced)
    segments = [session.place(words, late_s=step_s * n) for n, words in enumerate(plan)]
    assert max(errors_s(plan, segments)) <= 0.03


@both_paces
@any_noise
@pytest.mark.gate_sample(2)
def test_exact_times_are_unchanged_in_noise(noise: Callable[[float], Samples], paced: bool) -> None:
    signal, plan = noisy(noise)
    session = Session(signal, paced=paced)
    assert max(errors_s(plan, [session.place(words) for words in plan])) <= 0.01


PAUSES_S = {"before the first word": (20.0, 0.0), "between commits": (0.0, 22.0), "both": (20.0, 22.0)}
long_pauses = pytest.mark.parametrize("pauses_s", PAUSES_S.values(), ids=PAUSES_S)


@cache
def with_long_pauses(
    noise: Callable[[float], Samples], pauses_s: tuple[float, float]
) -> tuple[Samples, list[Sentence]]:
    """`pauses_s`: seconds of noise before the first word, and additional seconds between the third and the fourth
    commit. In the middle of such a pause, no loud sound is near."""
    signal, plan = spoken()
    middle_s = (plan[2][-1][1] + plan[3][0][0]) / 2
    parts = np.split(signal, [int(middle_s * RATE)])
    silences = [np.zeros(int(s * RATE), np.float32) for s in pauses_s]
    signal = np.concatenate([silences[0], parts[0], silences[1], parts[1]])
    shifts_s = [pauses_s[0] if number < 3 else sum(pauses_s) for number in range(len(plan))]
    moved = [[(a + s, b + s, text) for a, b, text in words] for words, s in zip(plan, shifts_s, strict=True)]
    return signal + noise(len(signal) / RATE + 1)[: len(signal)], moved


@both_paces
@steady
@long_pauses
@pytest.mark.gate_sample(4)
@pytest.mark.parametrize("form", ["late", "milliseconds", "from the start of the segment"])
def test_inexact_times_are_corrected_near_long_pauses_in_noise(
    noise: Callable[[float], Samples], pauses_s: tuple[float, float], form: str, paced: bool
) -> None:
    signal, plan = with_long_pauses(noise, pauses_s)
    session = Session(signal, paced=paced)
    segments = []
    for words in plan:
        unit, origin_s = (1000 if form == "milliseconds" else 1), (words[0][0] if form.startswith("from") else 0.0)
        late_s = 0.3 if form == "late" else 0.0
        sent = [((a + late_s - origin_s) * unit, (b + late_s - origin_s) * unit, text) for a, b, text in words]
        segments.append(session.place(sent, spoken_until_s=words[-1][1]))
    assert max(errors_s(plan, segments)) <= 0.03


@both_paces
@steady
@long_pauses
@pytest.mark.gate_sample(3)
def test_phantoms_are_dropped_near_long_pauses_in_noise(
    noise: Callable[[float], Samples], pauses_s: tuple[float, float], paced: bool
) -> None:
    signal, plan = with_long_pauses(noise, pauses_s)
    session = Session(signal, paced=paced)
    for words in plan:
        assert session.place(words) is not None
        start, end, text = words[-1]
        assert session.place([(start + 0.5, end + 0.5, text)], behind_s=1.0) is None


def with_weak_words(noise: Callable[[float], Samples]) -> tuple[Samples, list[Sentence], list[Sentence]]:
    """A distant speaker says the same words twice in a long pause of a near one, 8 dB above the noise.

    Returns the signal, the commits of the near speaker, and those of the distant one, which belong after the third."""
    signal, plan = with_long_pauses(noise, (0.0, 22.0))
    signal, level_db, weak = signal.copy(), 20 * np.log10(np.std(signal[-RATE:])), []
    for start_s in (9.0, 13.0):
        said = list(islice(next(sentences(9, words=(4, 4), lead_s=plan[2][-1][1] + start_s)), 4))
        words = encode(said, tail_s=0.1)
        signal[: len(words)] += words * 10 ** ((level_db + 8) / 20) / np.std(words[np.abs(words) > 0.01])
        weak.append([(w.start, w.end, w.text) for w in said])
    return signal.astype(np.float32), plan, weak


@both_paces
@steady
def test_weak_words_in_a_long_pause_stay(noise: Callable[[float], Samples], paced: bool) -> None:
    signal, plan, weak = with_weak_words(noise)
    session = Session(signal, paced=paced)
    said = [*plan[:3], *weak, *plan[3:]]
    assert [segment and segment.text for segment in map(session.place, said)] == [
        " ".join(text for _, _, text in words) for words in said
    ]


@both_paces
@steady
def test_phantoms_are_dropped_in_noise(noise: Callable[[float], Samples], paced: bool) -> None:
    signal, plan = noisy(noise)
    session = Session(signal, paced=paced)
    for words in plan:
        assert session.place(words) is not None
        start, end, text = words[-1]
        assert session.place([(start + 0.5, end + 0.5, text)], behind_s=1.0) is None


@both_paces
@any_noise
@pytest.mark.gate_sample(3)
def test_spoken_repetitions_stay_in_noise(noise: Callable[[float], Samples], paced: bool) -> None:
    said = [word for first in (0.6, 3.0, 5.4) for word in islice(next(sentences(9, words=(2, 2), lead_s=first)), 2)]
    signal = encode(said, tail_s=3.0)
    # A word is 10 dB above white noise of -30 dBFS.
    signal = (signal * 10 ** (-9 / 20) + noise(len(signal) / RATE + 1)[: len(signal)]).astype(np.float32)
    plan = [[(w.start, w.end, w.text) for w in said[at : at + 2]] for at in range(0, 6, 2)]
    session = Session(signal, paced=paced)
    segments = [session.place(words) for words in plan]
    assert [s.text for s in segments if s] == [" ".join(text for _, _, text in words) for words in plan]


@both_paces
@pytest.mark.parametrize("noise", RESTLESS.values(), ids=RESTLESS)
def test_no_text_is_dropped_in_noise_without_pauses(noise: Callable[[float], Samples], paced: bool) -> None:
    signal, plan = noisy(noise)
    session = Session(signal, paced=paced)
    placed = []
    for words in plan:
        placed += [session.place(words), session.place(words[-1:])]
    assert all(segment is not None for segment in placed)


GOLD = (corpus.folder() / "manifest.json").is_file()


@pytest.mark.skipif(not GOLD, reason=f"no recordings in {corpus.folder()}; set STT_TEST_AUDIO")
@both_paces
@pytest.mark.parametrize("level_db", [None, -45])
def test_exact_times_of_a_real_recording_are_unchanged(level_db: float | None, paced: bool) -> None:
    signal, plan = real_recording()
    if level_db is not None:
        signal = signal + sounds.noise(len(signal) / RATE + 1, level_db)[: len(signal)]
    session = Session(signal, paced=paced)
    assert max(errors_s(plan, [session.place(words) for words in plan])) <= 0.01


@cache
def real_recording(pause_s: float = 0.35) -> tuple[Samples, list[Sentence]]:
    """A recording with exact word times, as commits that end at its pauses."""
    import soundfile
    import soxr

    entries = json.loads((corpus.folder() / "manifest.json").read_text(encoding="utf-8"))["files"]
    entry = next(e for e in entries if e.get("words"))
    signal, rate = soundfile.read(corpus.folder() / entry["file"], dtype="float32", always_2d=True)
    plan: list[list[tuple[float, float, str]]] = []
    last_s = -1.0
    for word in entry["words"]:
        if word["start"] - last_s > pause_s or not plan:
            plan.append([])
        plan[-1].append((word["start"], word["end"], word["w"]))
        last_s = word["end"]
    return soxr.resample(signal.mean(axis=1), rate, RATE), list(plan)
