"""The folder for downloads: folders of dead processes are removed, those of living ones are not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.settings import load
from worker.storage.sources.temp_space import file_name, remove_abandoned, temporary_file


def test_an_old_lock_without_a_folder_is_removed(tmp_path: Path) -> None:
    young, old = tmp_path / "worker-1-aa.lock", tmp_path / "worker-2-bb.lock"
    for lock in (young, old):
        lock.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [young.name]


async def test_an_unusable_temp_dir_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot be used for downloads: .*; set STT_TEMP_DIR"):
        async with temporary_file("a.wav", load({"STT_TEMP_DIR": str(tmp_path / "file")})):
            pass


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("call.wav", "call.wav"),
        ("粵語 錄音.GSM", "粵語 錄音.GSM"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden.wav", "hidden.wav"),
        ("a\nb\0c.wav", "a_b_c.wav"),
        ("x" * 300 + ".flac", "x" * 100 + ".flac"),
        ("", "source"),
        ("...", "source"),
    ],
)
def test_file_names_are_valid_on_any_disk(name: str, file: str) -> None:
    assert file_name(name) == file
