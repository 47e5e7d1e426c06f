"""Sessions of the self-hosted service, through real Socket.IO connections and tone-coded speech."""

from __future__ import annotations

import asyncio
from typing import Any

import pybase64
import pytest

from tests.support.service import GatedRecognizer, caller, service, tones
from worker.realtime import messages
from worker.realtime.messages import CHUNK, CLOSED, START, STARTED, STOP


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("chunk_s", [0.1, 1.0])
async def test_every_rate_gives_every_word_once_at_its_time(rate: int, chunk_s: float) -> None:
    words, pcm = tones(15, rate, seed=rate)
    async with service() as server, caller(server) as one:
        await one.start(rate)
        await one.say(pcm, rate, chunk_s)
        assert await one.finish() == {"code": 1000, "reason": "stopped by the client"}
        assert [w["text"] for w in one.words] == [w.text for w in words]
        for heard, spoken in zip(one.words, words, strict=True):
            assert abs(heard["start"] - spoken.start) < 0.03
            assert abs(heard["end"] - spoken.end) < 0.03


async def test_the_messages_of_a_session() -> None:
    words, pcm = tones(9)
    async with service() as server, caller(server) as one:
        await one.start()
        await one.say(pcm)
        await one.finish()
        names = [name for name, _ in one.events]
        assert names[0] == STARTED
        assert names[-1] == CLOSED
        assert one.named(STARTED) == [None]
        (first,) = one.messages(messages.TYPE_STARTED)
        assert len(first["session_id"]) >= 16
        assert first["config"] == {
            "sample_rate": 16000,
            "audio_format": "pcm_16000",
            "language_code": "en",
            "model_id": "tones",
            "commit_strategy": "vad",
            "vad_silence_threshold_secs": 0.6,
            "vad_threshold": 0.35,
            "min_speech_duration_ms": 100,
            "min_silence_duration_ms": 200,
            "max_segment_duration_secs": 20.0,
            "include_timestamps": True,
            "include_language_detection": False,
            "commit_on_stop": True,
        }
        plain, timed = one.messages(messages.TYPE_COMMITTED), one.messages(messages.TYPE_COMMITTED_TIMED)
        assert [m["text"] for m in plain] == [m["text"] for m in timed]
        assert len(plain) > 1
        for message in timed:
            assert message["language_code"] == "en"
            assert "".join(w["text"] for w in message["words"]) == message["text"]
            for word in message["words"]:
                assert set(word) == {"text", "start", "end", "type", "logprob"}
                assert word["start"] <= word["end"]
            assert {w["type"] for w in message["words"]} <= {"word", "spacing"}
        assert one.text.split() == [w.text for w in words]


async def test_a_longer_pause_and_longer_segments_like_the_service() -> None:
    words, pcm = tones(40)
    async with service(server_endpointing="service") as server, caller(server) as one:
        await one.start()
        await one.say(pcm)
        await one.finish()
        assert one.text.split() == [w.text for w in words]
        (first,) = one.messages(messages.TYPE_STARTED)
        assert first["config"]["vad_silence_threshold_secs"] == 1.5
        assert first["config"]["max_segment_duration_secs"] == 36
        starts = [message["words"][0]["start"] for message in one.messages(messages.TYPE_COMMITTED_TIMED)]
        assert len(starts) < len(words) / 4


async def test_silence_commits_nothing_but_the_service_shows_that_it_lives() -> None:
    async with service() as server, caller(server) as one:
        await one.start()
        await one.say(bytes(16000 * 2 * 2))
        await one.until(lambda: one.messages(messages.TYPE_PARTIAL), "a sign of life in silence", 5)
        assert one.messages(messages.TYPE_PARTIAL)[0]["text"] == ""
        await one.finish()
        assert one.words == []
        assert one.messages(messages.TYPE_COMMITTED) == []


async def test_partials_come_while_someone_speaks() -> None:
    words, pcm = tones(8)
    async with service() as server, caller(server) as one:
        await one.start()
        heard = words[2].end + 0.1
        await one.say(pcm[: round(heard * 16000) * 2], chunk_s=0.25)
        await one.until(lambda: any(m["text"] for m in one.messages(messages.TYPE_PARTIAL)), "a partial with text", 5)
        assert one.messages(messages.TYPE_PARTIAL)[-1]["text"].split()[0] == words[0].text


def chunk(**changes: Any) -> dict[str, Any]:
    good = {"audio_base_64": pybase64.b64encode_as_string(bytes(3200)), "sample_rate": 16000}
    return {**good, **changes}


BAD_CHUNKS: list[tuple[Any, str]] = [
    (chunk(audio_base_64="*** not base64 ***"), "input_error: audio_base_64 is not valid base64"),
    (chunk(audio_base_64="AAA"), "input_error: audio_base_64 is not valid base64"),
    (chunk(audio_base_64=pybase64.b64encode_as_string(b"abc")), "input_error: 3 bytes"),
    (chunk(audio_base_64=""), "input_error: audio_base_64 is empty"),
    (chunk(audio_base_64=None), "input_error: audio_base_64 must be a text"),
    (chunk(audio_base_64=[1, 2]), "input_error: audio_base_64 must be a text"),
    (chunk(audio_base_64=b"\x00\x00"), "input_error: audio_base_64 must be a text"),
    ({"sample_rate": 16000}, "input_error: audio_base_64 must be a text"),
    ({"audio_base_64": "AAAA"}, "input_error: sample_rate must be a whole number"),
    (chunk(sample_rate="16000"), "input_error: sample_rate must be a whole number"),
    (chunk(sample_rate=8000), "input_error: sample_rate is 8000, but the session was started with 16000"),
    (chunk(audio_base_64=pybase64.b64encode_as_string(bytes(16000 * 2 * 11))), "chunk_size_exceeded: "),
    (chunk(audio_base_64=pybase64.b64encode_as_string(bytes(3_000_000))), "chunk_size_exceeded: "),
    (None, "input_error: audio-chunk takes one object"),
    ("audio", "input_error: audio-chunk takes one object"),
    ([], "input_error: audio-chunk takes one object"),
]


@pytest.mark.parametrize(("bad", "told"), BAD_CHUNKS, ids=[told[:50] for _, told in BAD_CHUNKS])
async def test_a_bad_chunk_is_told_and_harms_nothing(bad: Any, told: str) -> None:
    words, pcm = tones(6)
    async with service() as server, caller(server) as one, caller(server) as other:
        await one.start()
        await other.start()
        half = len(pcm) // 4 * 2
        await one.say(pcm[:half])
        await other.say(pcm[:half])
        await one.emit(CHUNK, bad)
        await one.until(lambda: one.errors, "session-error")
        assert one.errors[0].startswith(told)
        await one.say(pcm[half:])
        await other.say(pcm[half:])
        for each in (one, other):
            assert (await each.finish())["code"] == 1000
            assert each.text.split() == [w.text for w in words]
        assert len(one.errors) == 1
        assert other.errors == []


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"sampleRate": None}, {"sampleRate": "16000"}, {"sampleRate": 7999}, {"sampleRate": 48001},
     {"sampleRate": -1}, {"sampleRate": True}, {"sampleRate": 16000.5}, {"sampleRate": 1e300},
     {"sample_rate": 16000}, [], "16000", 16000],
)  # fmt: skip
async def test_a_bad_start_is_told_and_another_may_follow(payload: Any) -> None:
    async with service() as server, caller(server) as one:
        await one.emit(START, payload)
        await one.until(lambda: one.errors, "session-error")
        assert one.errors[0].startswith("input_error: ")
        assert one.named(STARTED) == []
        await one.start()
        assert (await one.finish())["code"] == 1000


async def test_audio_and_stop_before_the_start() -> None:
    async with service() as server, caller(server) as one:
        await one.emit(CHUNK, chunk())
        await one.emit(STOP)
        await one.until(lambda: len(one.errors) == 2, "two errors")
        assert "before start-session" in one.errors[0]
        assert "no session to stop" in one.errors[1]
        await one.start()
        assert (await one.finish())["code"] == 1000


async def test_a_double_start_is_told_and_the_session_goes_on() -> None:
    words, pcm = tones(6)
    async with service() as server, caller(server) as one:
        await one.start()
        await one.say(pcm[:64000])
        await one.emit(START, {"sampleRate": 8000})
        await one.say(pcm[64000:])
        assert (await one.finish())["code"] == 1000
        assert len(one.named(STARTED)) == 1
        assert len(one.errors) == 1
        assert "a session is running" in one.errors[0]
        assert one.text.split() == [w.text for w in words]


async def test_after_the_stop_no_audio_and_no_second_stop() -> None:
    gated = GatedRecognizer()
    _, pcm = tones(4)
    async with service(gated) as server, caller(server) as one:
        await one.start()
        await one.say(pcm)
        await one.emit(STOP)
        await one.emit(CHUNK, chunk())
        await one.emit(STOP)
        await one.until(lambda: len(one.errors) == 2, "two errors")
        assert all("stopping" in error for error in one.errors)
        gated.gate.set()
        assert (await one.closed())["code"] == 1000


async def test_one_connection_may_hold_sessions_one_after_the_other() -> None:
    words, pcm = tones(5)
    async with service() as server, caller(server) as one:
        for turn in range(3):
            await one.start()
            await one.say(pcm)
            await one.emit(STOP)
            await one.until(lambda turn=turn: len(one.named(CLOSED)) == turn + 1, "session-closed")
        assert one.text.split() == [w.text for w in words] * 3
        times = [w["start"] for w in one.words]
        assert times[: len(words)] == times[len(words) : 2 * len(words)], "each session has its own clock"


async def test_unknown_events_and_arguments_in_excess_are_harmless() -> None:
    words, pcm = tones(5)
    async with service() as server, caller(server) as one:
        await one.start()
        await one.emit("audio-chunks", {"x": 1})
        await one.emit("session-closed", {"code": 1})
        await one.emit(CHUNK, (chunk(), "more"))
        await one.say(pcm)
        assert (await one.finish())["code"] == 1000
        assert one.text.split() == [w.text for w in words]
        assert one.errors == ["input_error: audio-chunk takes one object"]


async def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    gated = GatedRecognizer()
    _, pcm = tones(6)
    async with service(gated) as server:
        async with caller(server) as one:
            await one.start()
            await one.say(pcm)
            await one.until(lambda: server.sessions == 1, "the session is counted")
        async with caller(server) as other:
            await other.until(lambda: server.sessions == 0, "the session of the client that left is gone")
            gated.gate.set()
            await other.start()
            await other.say(pcm)
            assert (await other.finish())["code"] == 1000


async def test_many_sessions_at_once_all_get_their_own_words() -> None:
    async with service() as server:

        async def talk(seed: int) -> None:
            words, pcm = tones(20, 16000, seed)
            async with caller(server, "websocket" if seed % 3 else "polling") as one:
                await one.start()
                await one.say(pcm)
                assert (await one.finish(60))["code"] == 1000
                assert one.text.split() == [w.text for w in words]

        await asyncio.gather(*(talk(seed) for seed in range(20)))
