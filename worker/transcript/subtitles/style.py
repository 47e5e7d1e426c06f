"""Defines the options for the appearance of output files, and the subtitle rules of each preset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Preset = Literal["plain", "netflix-en", "netflix-zh-hant"]
Script = Literal["hk", "tw", "cn"]
AudioEvents = Literal["keep", "remove"]
AUDIO_EVENTS: Final[tuple[AudioEvents, ...]] = ("keep", "remove")
# Chinese scripts: traditional characters of Hong Kong or Taiwan, or simplified characters.
SCRIPTS: Final[tuple[Script, ...]] = ("hk", "tw", "cn")


@dataclass(frozen=True, slots=True)
class CueRules:
    """The limits of subtitles. Widths are columns as in a terminal: a full-width character takes two."""

    columns: int = 42
    """Maximum columns of a line in a cue without CJK text."""
    cjk_columns: int = 32
    """Maximum columns of a line in a cue with CJK text: 16 full-width characters."""
    latin_per_s: float = 17
    """Half-width characters, including spaces, that a viewer reads in a second."""
    cjk_per_s: float = 9
    """Full-width characters that a viewer reads in a second."""
    min_ms: int = 1000
    """Minimum duration of a cue."""
    max_ms: int = 6000
    """Maximum duration of a cue."""
    gap_ms: int = 80
    """Minimum time between two cues."""
    chain_ms: int = 500
    """If the pause between two cues is shorter than this, it is reduced to `gap_ms`, because it would flicker."""
    max_lines: int = 2
    """Maximum lines of a cue."""
    hyphens: bool = False
    """Whether two speakers at once share a cue, with a hyphen before the line of each, and no cues overlap. If not,
    their cues overlap."""
    without_stops: bool = False
    """Whether to omit full-width commas and full stops at the end of a line, and replace them by a space elsewhere."""

    def of_one_speaker(self) -> CueRules:
        """Return the rules for the line of one speaker in a cue that two speakers share. The line begins with a
        hyphen."""
        return replace(self, columns=self.columns - 1, cjk_columns=self.cjk_columns - 1, max_lines=1)


# The rules of Netflix: two lines, 5/6 s to 7 s, two frames between cues (at 24 frames a second), and no gaps of 3 to
# 11 frames. Sources:
# https://partnerhelp.netflixstudios.com/hc/en-us/articles/215758617 and the timing guide linked there.
_FRAME_MS: Final = 1000 / 24
_NETFLIX_MIN_MS: Final = 834
_NETFLIX_MAX_MS: Final = 7000
_NETFLIX_GAP_MS: Final = 84
_NETFLIX_CHAIN_MS: Final = round(12 * _FRAME_MS)

RULES: Final[dict[Preset, CueRules]] = {
    "plain": CueRules(),
    # 42 characters in a line, 20 in a second: the English guide, for subtitles in the language of the speech (SDH),
    # https://partnerhelp.netflixstudios.com/hc/en-us/articles/217350977
    "netflix-en": CueRules(
        latin_per_s=20,
        cjk_per_s=11,
        min_ms=_NETFLIX_MIN_MS,
        max_ms=_NETFLIX_MAX_MS,
        gap_ms=_NETFLIX_GAP_MS,
        chain_ms=_NETFLIX_CHAIN_MS,
        hyphens=True,
    ),
    # 16 characters in a line, 11 in a second for SDH: the Traditional Chinese guide,
    # https://partnerhelp.netflixstudios.com/hc/en-us/articles/215994807
    "netflix-zh-hant": CueRules(
        columns=32,
        latin_per_s=20,
        cjk_per_s=11,
        min_ms=_NETFLIX_MIN_MS,
        max_ms=_NETFLIX_MAX_MS,
        gap_ms=_NETFLIX_GAP_MS,
        chain_ms=_NETFLIX_CHAIN_MS,
        hyphens=True,
        without_stops=True,
    ),
}
PRESETS: Final[tuple[Preset, ...]] = tuple(RULES)


class Style(BaseModel):
    """Options that only affect formatting, not the recognized words (except their Chinese script)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field(default="plain", description="rules of the subtitles")
    script: Script | None = Field(default=None, description="Chinese script to write; null: as the service wrote it")
    word_cues: bool = Field(default=False, description="times of the words inside the cues, where the format has them")
    bom: bool = Field(default=False, description="a byte order mark at the start of subtitle and text files")
    audio_events: AudioEvents | None = Field(
        default=None,
        description="keep: audio events as `[掌聲]`; remove: without audio events; null: as the service wrote them",
    )

    @model_serializer(mode="wrap")
    def _as_known(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit newer options that are not used, because older workers refuse unknown options."""
        fields: dict[str, Any] = write(self)
        return {name: value for name, value in fields.items() if name != "audio_events" or value is not None}

    @property
    def rules(self) -> CueRules:
        return RULES[self.preset]


PLAIN: Final = Style()
