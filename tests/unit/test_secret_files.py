"""Secrets are read from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.settings import SECRET_SETTINGS, load
from worker.settings_environment import as_environment


def test_the_settings_that_may_come_from_a_file() -> None:
    assert {"api_key", "server_api_keys", "redis_url"} <= set(SECRET_SETTINGS)


def test_a_secret_comes_from_the_file_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("a secret of two words\n", encoding="utf-8")
    assert load({"STT_API_KEY_FILE": str(path)}).api_key.get_secret_value() == "a secret of two words"


def test_a_secret_file_of_the_process_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "url"
    path.write_text("redis://:pass@queue:6379/1", encoding="utf-8")
    monkeypatch.delenv("STT_REDIS_URL", raising=False)
    monkeypatch.setenv("STT_REDIS_URL_FILE", str(path))
    settings = load()
    assert settings.redis_url == "redis://:pass@queue:6379/1"
    assert load(redis_url="redis://other/0").redis_url == "redis://other/0"
    # A child process gets the value itself and does not need the file.
    assert as_environment(settings)["STT_REDIS_URL"] == settings.redis_url
    assert not [name for name in as_environment(settings) if name.endswith("_FILE") and name.startswith("STT_R")]


def test_the_variable_wins_over_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("from the file", encoding="utf-8")
    given = {"STT_API_KEY_FILE": str(path)}
    assert load({**given, "STT_API_KEY": "given"}).api_key.get_secret_value() == "given"
    assert load({**given, "STT_API_KEY": ""}).api_key.get_secret_value() == "from the file"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_secret_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"STT_API_KEY_FILE: {path}"):
        load({"STT_API_KEY_FILE": str(path)})


def test_an_ordinary_setting_is_not_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    path.write_text("other", encoding="utf-8")
    assert load({"STT_QUEUE_FILE": str(path)}).queue == "stt"
