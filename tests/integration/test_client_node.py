"""This project's client with the official Node Socket.IO server: every sample arrives, and every word is in the
transcript at its time."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.support import audiofiles
from tests.support.audiofiles import write_signal, write_words
from tests.support.node_env import NodeServer, node_modules, node_server, run_node_server
from tests.support.pipeline_run import transcribe
from tests.support.tones import speech
from worker.errors import AuthRefused, EndpointError, PermissionRefused, ProtocolRefused
from worker.settings import Settings, load

__all__ = ["node_modules", "node_server"]

pytestmark = pytest.mark.node
SECONDS = 20


def settings(server: NodeServer, **more: str) -> Settings:
    return load({"STT_URL": server.url, "STT_API_KEY": server.key, **more})


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Write a recording with sound in every second."""
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(SECONDS * 44100) / 44100)
    return write_signal(tmp_path / "tone.flac", np.column_stack([tone, tone]), 44100, audiofiles.FLAC)


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
async def test_every_sample_and_every_word(node_server: NodeServer, recording: Path, transport: str) -> None:
    transcript = await transcribe(recording, settings(node_server, STT_TRANSPORT=transport))
    (session,) = node_server.sessions()
    assert session["errors"] == []
    assert session["stopped"]
    # On a busy machine the client may read too late that this server commits all text at the end. Until then it sends
    # silence after the audio, to get the last words.
    audio_s = session["samples"] / 16000 - transcript.sessions[0].silence
    assert audio_s == pytest.approx(transcript.source.duration, abs=0.001)
    assert session["transport"] == ("polling" if transport == "polling" else "websocket")
    words = [w for s in transcript.segments for w in s.words]
    assert [w.text for w in words] == [f"word{n}" for n in range(len(words))]
    assert len(words) == session["words"] >= SECONDS
    assert all(w.start == pytest.approx(n + 0.1, abs=0.001) for n, w in enumerate(words))
    assert transcript.coverage.complete
    assert [s.close_code for s in transcript.sessions] == [1000]


async def test_a_server_that_forgets_the_tail_is_sent_silence(node_modules: Path, recording: Path) -> None:
    with run_node_server(node_modules, commit_on_stop=False, pause_s=1.5) as server:
        configured = settings(server)
        transcript = await transcribe(recording, configured)
        (session,) = server.sessions()
    words = [w.text for s in transcript.segments for w in s.words]
    assert words == [f"word{n}" for n in range(len(words))]
    assert len(words) >= SECONDS
    silence_s = session["samples"] / 16000 - transcript.source.duration
    assert 1.5 <= silence_s <= configured.tail_silence_max_s
    assert transcript.sessions[0].silence == pytest.approx(silence_s, abs=0.01)


async def test_in_real_time(node_server: NodeServer, tmp_path: Path) -> None:
    recording = write_words(tmp_path / "short.wav", list(speech(4, seed=4)), 8000)
    transcript = await transcribe(recording, settings(node_server), speed=1.0)
    (session,) = node_server.sessions()
    assert session["chunks"] == math.ceil(transcript.source.duration / 0.25)
    assert transcript.elapsed >= transcript.source.duration - 0.3


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
async def test_a_wrong_key(node_server: NodeServer, recording: Path, transport: str) -> None:
    wrong = load({"STT_URL": node_server.url, "STT_API_KEY": "wrong", "STT_TRANSPORT": transport})
    with pytest.raises(AuthRefused, match="API key refused by http"):
        await transcribe(recording, wrong)
    assert node_server.sessions() == []


# Over a websocket, Engine.IO refuses with 400 instead of 403.
@pytest.mark.parametrize(
    ("transport", "refuse", "error"),
    [
        ("auto", "allowRequest", (PermissionRefused, "HTTP 403: not now")),
        ("polling", "allowRequest", (PermissionRefused, "HTTP 403: not now")),
        ("websocket", "allowRequest", (ProtocolRefused, "HTTP 400: not now")),
        *((transport, "use", (AuthRefused, "API key")) for transport in ("auto", "websocket", "polling")),
    ],
)
@pytest.mark.gate_sample(2)
async def test_the_ways_socketio_itself_refuses(
    node_modules: Path, recording: Path, transport: str, refuse: str, error: tuple[type[EndpointError], str]
) -> None:
    with (
        run_node_server(node_modules, refuse=refuse, troubled=99) as server,
        pytest.raises(error[0], match=error[1]),
    ):
        await transcribe(recording, settings(server, STT_TRANSPORT=transport, STT_CONNECT_TIMEOUT_S="3"))


@pytest.mark.parametrize("trouble", ["disconnect_at_s", "kill_at_s"])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.gate_sample(2)
async def test_a_node_server_that_drops_its_client(
    node_modules: Path, recording: Path, trouble: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pipeline.session_sequence.BACKOFF_S", (0.05, 0.2))
    with run_node_server(node_modules, troubled=2, **{trouble: 7}) as server:
        transcript = await transcribe(recording, settings(server, STT_TRANSPORT=transport), speed=16.0)
        sessions = server.sessions()
    # The text of each word is the second of its session; every second must have a word.
    starts = [w.start for s in transcript.segments for w in s.words]
    assert starts == sorted(starts)
    gaps = [b - a for a, b in pairwise([0.0, *starts, float(SECONDS)])]
    assert max(gaps) < 1.6
    assert transcript.coverage.complete
    assert len(sessions) == len(transcript.sessions)
    # Polling survives the loss of a TCP connection between two requests: the next request opens another one. A request
    # that is lost ends the session, which happens on a busy machine.
    assert len(sessions) in ((1, 2, 3) if (trouble, transport) == ("kill_at_s", "polling") else (3,))
