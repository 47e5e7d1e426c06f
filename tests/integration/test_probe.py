"""`stt-batch doctor --probe` measures how a service was configured, and stores the result. Workers use the stored
result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tasks.cli import main
from tasks.doctor.probe import Budget, probe, steps
from tasks.doctor.probe.session import ProbeSession
from tasks.service_profile_store import with_profile_of_file, with_profile_of_redis
from tests.support.audiofiles import write_words
from tests.support.fleet import KEY, tone_server
from tests.support.pipeline_run import tone_service
from tests.support.tones import speech
from worker.service_profile import ServiceProfile
from worker.settings import load


@dataclass(frozen=True)
class Configuration:
    """A service with faults, and the fields of the profile that must be found: a value, or a range."""

    faults: Sequence[str]
    expected: Mapping[str, Any]
    settings: Mapping[str, str] = field(default_factory=dict)


BUDGET = Budget(audio_s=220.0, sessions=4)
CONFIGURATIONS = {
    "default": Configuration(
        [], {"word_times": True, "commits_on_stop": True, "drift_s": 0.0, "session_limit_s": None, "max_sessions": None}
    ),
    "long pause": Configuration(["commit-pause=3"], {"commit_pause_s": (2.7, 4.5)}),
    "short pause": Configuration(["commit-pause=0.8"], {"commit_pause_s": (0.5, 2.2)}),
    "stop does not flush": Configuration(["forget-tail"], {"commits_on_stop": False}),
    "drift": Configuration(["drift=0.15"], {"drift_s": (0.13, 0.17)}),
    "no word times": Configuration(["plain-only"], {"word_times": False}),
    "slow service": Configuration(["overflow=3"], {"max_speed": (1.8, 2.9)}),
    "real time only": Configuration(["overflow=1.2"], {"max_speed": 1.0, "refused_speed": 2.0}),
    "time limit": Configuration(["time-limit=40"], {"session_limit_s": (40, 44)}),
    "two sessions": Configuration([], {"max_sessions": 2}, {"STT_SERVER_MAX_SESSIONS": "2"}),
    "idle close": Configuration([], {"idle_close_s": (4.5, 8)}, {"STT_SERVER_IDLE_TIMEOUT_S": "5"}),
    "refused option": Configuration(
        ["refuse-option=no_verbatim", "confirm-options"],
        {"options": {"keyterms": "confirmed", "no_verbatim": "refused"}},
        {"STT_SESSION_OPTIONS": '{"keyterms": ["x"], "no_verbatim": true}'},
    ),
    "polling only": Configuration(["polling-only"], {"transport": "polling"}),
}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return write_words(tmp_path / "sample.wav", list(speech(3.0, seed=1)), 16000)


async def measured(configuration: Configuration, sample: Path) -> ServiceProfile:
    profiles: list[ServiceProfile] = []
    async with tone_service(*configuration.faults, **configuration.settings) as settings:
        async for _ in probe(settings, sample, BUDGET, profiles.append):
            pass
    return profiles[0]


def differences(profile: ServiceProfile, expected: Mapping[str, Any]) -> list[str]:
    found = []
    for name, wanted in expected.items():
        value = getattr(profile, name)
        fits = value is not None and wanted[0] <= value <= wanted[1] if isinstance(wanted, tuple) else value == wanted
        found += [] if fits else [f"{name} is {value}, not {wanted}"]
    return found + list(profile.problems)


@pytest.mark.matrix
@pytest.mark.timeout(900)
async def test_it_finds_what_each_service_was_configured_to_do(sample: Path) -> None:
    """Several at the same time: a probe mostly waits."""
    places = asyncio.Semaphore(4)

    async def one_of(configuration: Configuration) -> ServiceProfile:
        async with places:
            return await measured(configuration, sample)

    profiles = await asyncio.gather(*(one_of(one) for one in CONFIGURATIONS.values()))
    wrong = {
        name: found
        for (name, one), profile in zip(CONFIGURATIONS.items(), profiles, strict=True)
        if (found := differences(profile, one.expected))
    }
    assert not wrong


async def test_it_sends_no_more_audio_than_the_budget(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "IDLE_WAIT_S", 0.5)
    sent_s: list[float] = []
    leave = ProbeSession.__aexit__

    async def counted(self: ProbeSession, *error: Any) -> None:
        sent_s.append(self.sent_s)
        await leave(self, *error)

    monkeypatch.setattr(ProbeSession, "__aexit__", counted)
    profiles: list[ServiceProfile] = []
    async with tone_service() as settings:
        found = [one async for one in probe(settings, sample, Budget(audio_s=30.0, sessions=2), profiles.append)]
    assert 0 < sum(sent_s) <= 30.0
    assert any("not measured" in one.text and "--probe-minutes" in one.remedy for one in found)
    assert profiles[0].max_speed is None
    assert len(profiles[0].problems) == 3


@pytest.mark.parametrize("fault", ["http=401", "error=quota_exceeded@0", "never-commit"])
def test_a_service_without_text_gets_no_profile(
    tmp_path: Path, redis_url: str, sample: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(steps, "MAX_PAUSE_S", 3.0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with tone_server(tmp_path, fault) as url:
        environ = {"STT_URL": url, "STT_API_KEY": KEY, "STT_REDIS_URL": redis_url, "STT_SESSION_RETRIES": "0"}
        options = ["doctor", "--json", "--probe", "--sample", str(sample)]
        result = CliRunner().invoke(main, [*options, "--probe-minutes", "0.5"], env=environ)
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "profile" not in document
    assert not (tmp_path / "state").exists()


def test_the_profile_is_stored_and_used(
    tmp_path: Path, redis_url: str, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "MAX_PAUSE_S", 4.0)
    monkeypatch.setattr(steps, "IDLE_WAIT_S", 0.5)
    monkeypatch.setattr(steps, "SPEEDS", (4.0,))
    monkeypatch.setattr(steps, "SPEED_AUDIO_S", 4.0)
    monkeypatch.setattr(steps, "REPEATS", 1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with tone_server(tmp_path, STT_SERVER_MAX_SESSIONS="2") as url:
        environ = {"STT_URL": url, "STT_API_KEY": KEY, "STT_REDIS_URL": redis_url}
        options = ["doctor", "--json", "--probe", "--sample", str(sample), "--probe-minutes", "0.5"]
        result = CliRunner().invoke(main, options, env=environ)
    document = json.loads(result.stdout)
    assert result.exit_code == 0, result.stdout
    assert document["profile"]["max_sessions"] == 2
    assert document["profile"]["max_speed"] == 4.0
    assert KEY not in result.stdout

    settings = load(environ)
    for found, applied in (with_profile_of_file(settings), asyncio.run(with_profile_of_redis(settings))):
        assert (found.speed, found.api_key_max_sessions) == (4.0, 2)
        assert {"speed", "api_key_max_sessions"} <= set(applied)
    explicit = load({**environ, "STT_SPEED": "2", "STT_API_KEY_MAX_SESSIONS": "7"})
    found, _ = with_profile_of_file(explicit)
    assert (found.speed, found.api_key_max_sessions) == (2.0, 7)
    other, applied = with_profile_of_file(load({**environ, "STT_API_KEY": "another-key"}))
    assert not applied, other
