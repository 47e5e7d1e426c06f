"""Optional modules are hidden only from the imports of one thread and one block."""

from __future__ import annotations

import importlib
import sys
import threading

import pytest

from worker.optional_modules import without_modules

NAME = "this"  # a module of the standard library that no program imports


@pytest.fixture(autouse=True)
def _not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)


def test_a_hidden_module_is_missing_until_the_end_of_the_block() -> None:
    with without_modules(NAME), pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)
    assert importlib.import_module(NAME)


def test_an_imported_module_stays_available() -> None:
    with without_modules("threading"):
        assert importlib.import_module("threading") is threading


def test_other_threads_can_import_the_module() -> None:
    """A recognizer that is loaded at the same time may need it."""
    found: list[object] = []
    with without_modules(NAME):
        thread = threading.Thread(target=lambda: found.append(importlib.import_module(NAME)))
        thread.start()
        thread.join()
    assert found == [sys.modules[NAME]]


def test_an_error_in_the_block_ends_the_hiding() -> None:
    with pytest.raises(KeyError), without_modules(NAME):
        raise KeyError
    assert importlib.import_module(NAME)
