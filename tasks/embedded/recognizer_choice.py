"""Checks that the embedded recognizer is installed, and chooses its model for a language. Loads nothing heavy."""

from __future__ import annotations

from importlib.util import find_spec

from worker.errors import ModelUnavailable, SettingsError
from worker.settings import Settings


def check_recognizer(settings: Settings) -> None:
    """Check that the recognizer of the settings is installed, and that the name of its model is possible. Raises
    SettingsError."""
    if settings.server_recognizer == "faster-whisper" and find_spec("faster_whisper") is None:
        raise SettingsError(
            "the embedded recognizer is not installed: pip install 'stt-batch[local]', "
            "or use a service: set STT_URL and STT_API_KEY"
        )
    if settings.server_recognizer == "faster-whisper" and "model" in settings.model_fields_set:
        from worker.server.recognizers.model_files import check_name  # noqa: PLC0415  loads numpy

        try:
            check_name(settings.model)
        except ModelUnavailable as exc:
            raise SettingsError(str(exc)) from exc


def for_language(settings: Settings, language: str) -> Settings:
    """Return the settings with a model of the embedded recognizer that supports `language`. Raises
    LanguageUnsupported."""
    from worker.server.recognizers.model_languages import choose_model  # noqa: PLC0415  not needed with another service

    if settings.server_recognizer != "faster-whisper":  # a custom engine checks its languages itself
        return settings.model_copy(update={"server_language": language})
    model, code = choose_model(settings, language)
    return settings.model_copy(update={"model": model, "server_language": code})


__all__ = ["check_recognizer", "for_language"]
