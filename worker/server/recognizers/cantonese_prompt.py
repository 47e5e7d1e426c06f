"""Lets a Whisper model without the language Cantonese write spoken Cantonese. No I/O.

Models before large-v3 only know `zh`, and write Cantonese speech as written Chinese. A text prompt, which the model
takes for earlier text of the same speaker, changes this. It has a side effect: without speech in a segment, the model
continues the prompt. `is_prompt_echo` recognizes this.

Numbers are written as they are spoken (三百五十六), because digits lose words: the model wrote 507 for 五名七. On ten
Cantonese clips (350 characters) this lowers the character error rate from 25.1 to 22.9 %. Trials that did not lower it:
other prompts, wider beams, longer windows, silence around the speech, other speeds, float32, and votes of several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PROMPT: Final = "以下係廣東話口語，用返啲字：嘅、咗、喺、唔、佢哋、咁、啲。"
"""Asks for written colloquial Cantonese and shows its common characters."""

# Measured with the prompt: sounds without speech (silence, noise, tones, music, breath, bells, dishes, up to 25 s) gave
# only characters of the prompt, with a no-speech probability of at least 0.73 and a logprob of at most -0.6. Long tones
# gave 0.3 and -1. Speech gave a no-speech probability of at most 0.42 and a logprob of at least -0.35. Only people who
# count aloud gave more (Cantonese 0.82, English 0.97).
_MAX_NO_SPEECH: Final = 0.5
_DOUBTFUL_NO_SPEECH: Final = 0.2
_MIN_LOGPROB: Final = -0.6
_OTHER_TEXT_NO_SPEECH: Final = 0.9
_DIGITS: Final = frozenset("0123456789")


def may_have_speech(no_speech: float) -> bool:
    """Return whether a segment with an echo of the prompt may have speech, for example in another language."""
    return no_speech <= _MAX_NO_SPEECH


def is_prompt_echo(text: str, no_speech: float, mean_logprob: float) -> bool:
    """Return whether the model wrote `text`, with the prompt, for a segment without speech.

    `no_speech` is the model's probability that the segment has no speech, `mean_logprob` the mean natural logarithm of
    the probabilities of the text's tokens.
    """
    if all(c in PROMPT for c in text if c.isalnum()):
        # Speakers use the prompt's characters too (唔係), but then the model is more certain.
        return no_speech > _MAX_NO_SPEECH or (no_speech > _DOUBTFUL_NO_SPEECH and mean_logprob < _MIN_LOGPROB)
    return no_speech > _OTHER_TEXT_NO_SPEECH and mean_logprob < _MIN_LOGPROB


def digit_tokens(vocabulary: Mapping[str, int]) -> list[int]:
    """Return the text tokens of a vocabulary that contain a digit, in ascending order."""
    return sorted(number for token, number in vocabulary.items() if not token.startswith("<|") and _DIGITS & set(token))
