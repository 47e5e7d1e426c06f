"""Masks secrets in messages of a service, which may echo the API key, and shortens its errors. No I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from worker.realtime.error_shapes import shown_text
from worker.realtime.messages import Closed, Committed, Message, Partial, ServiceError, Unknown, UpstreamStarted
from worker.secret_masking import Masker

_MAX_DEPTH: Final = 4


def mask_message(message: Message, masker: Masker) -> Message:
    """Return the message with its secrets replaced by `***`. In transcribed text, only secrets that cannot have been
    spoken are replaced."""
    match message:
        case Partial():
            message = replace(message, text=masker.speech(message.text))
        case Committed():
            # Almost no commit contains a secret. Copying its words would take 3 µs for each.
            texts = [masker.speech(word.text) for word in message.words]
            words = message.words
            if any(word.text != text for word, text in zip(words, texts, strict=True)):
                words = tuple(replace(word, text=text) for word, text in zip(words, texts, strict=True))
            message = replace(message, text=masker.speech(message.text), words=words)
        case ServiceError():
            message = replace(message, text=shown_text(masker.text(message.text)))
        case Closed():
            message = replace(message, reason=shown_text(masker.text(message.reason)))
        case UpstreamStarted():
            session_id = message.session_id and masker.text(message.session_id)
            model = message.model and masker.text(message.model)
            config = message.config and {masker.text(str(k)): _masked(v, masker) for k, v in message.config.items()}
            message = replace(message, session_id=session_id, model=model, config=config)
        case Unknown():
            message = replace(message, kind=masker.text(message.kind))
        case _:
            pass
    return message


def _masked(value: object, masker: Masker, depth: int = 0) -> object:
    """Return a value of the configuration with its texts masked. Deeply nested parts, which no option has, become
    None."""
    if isinstance(value, str):
        return masker.text(value)
    if isinstance(value, dict | list) and depth == _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {masker.text(str(k)): _masked(v, masker, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(item, masker, depth + 1) for item in value]
    return value
