"""The engine `faster-whisper`: recognizes segments of speech with Whisper models in CTranslate2.

faster-whisper's public `transcribe` always pads the audio to a window of 30 s. In this module the length of the window
depends on the length of the speech. This more than halves the cost (3.4 instead of 7.8 CPU seconds per minute of audio
with tiny.en). The window is 5 s longer than the speech, up to 30 s, because with a shorter window the model repeats its
text. Consecutive short segments that wait together share a window: see `joined_segments`.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import ctranslate2
import numpy as np
import structlog
import threadpoolctl
import tokenizers

from worker.audio.segmentation.silero_model import Silero, silero_session
from worker.audio.segmentation.speech_detector import VoiceDetector
from worker.core_count import available_cores
from worker.errors import LanguageUnsupported, ModelCorrupt, ModelUnavailable, SettingsError
from worker.server.recognizers import (
    SAMPLE_RATE,
    Recognition,
    RecognizedWord,
    Samples,
    cantonese_prompt,
    model_files,
)
from worker.server.recognizers.joined_segments import JoinedSegments, merged, text_of
from worker.server.recognizers.log_mel import FRAMES_PER_S, Features, LogMel
from worker.server.recognizers.repetition_loop import without_final_loop
from worker.server.recognizers.whisper_tokens import WhisperTokens
from worker.settings import Settings

_log = structlog.get_logger("worker.server")

_MIN_SEGMENT_S: Final = 0.1
_MIN_LOGPROB: Final = -1.0
_TOKENS_PER_S: Final = 50  # time steps per second in the model's word alignment
_MAX_WINDOW_S: Final = 30.0
_OFFSET_S: Final = {"tiny.en": 0.10, "base": -0.05}
"""Seconds by which the model's alignment places word starts too late (negative: too early), by model. They were
measured with manually annotated speech, and are subtracted from the times of words."""

_MAX_JOINED_S: Final = 28.0
"""Maximum length of the joined segments of one session. Of 1,381 words, tiny.en got 57 wrong with 15 s, 53 with 20 s,
51 with 25 s, 49 with 28 s and 48 with 30 s. 28 s take 6 % more CPU time than 20 s, because the beam search reads a
longer window for each token."""
_MAX_JOINED_PROMPTED_S: Final = 20.0
"""The same with the Cantonese prompt of `cantonese_prompt`: with 25 s and 28 s, `base` got 90 of 350 characters wrong,
with 15 s and 20 s 87."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    tokens: list[int]
    text: str
    mean_logprob: float
    no_speech: float
    compression: float
    encoded: Any
    """Encoder output of the decoded window."""


class Whisper:
    """A loaded Whisper model. CTranslate2 runs up to `parallel` calls at the same time, each on one thread and without
    the lock of the Python interpreter (GIL)."""

    def __init__(
        self,
        folder: Path,
        model: str,
        language: str | None,
        parallel: int,
        *,
        device: str = "cpu",
        compute_type: str = "int8",
        batch_size: int = 1,
    ) -> None:
        self.model = model
        self.parallel = parallel
        self.batch_size = batch_size
        try:
            # Measured: one thread for each of several calls is faster than several threads for one call.
            self._whisper = ctranslate2.models.Whisper(
                str(folder), device=device, compute_type=compute_type, inter_threads=parallel, intra_threads=1
            )
        except Exception as exc:
            if (device, compute_type) != ("cpu", "int8"):
                raise SettingsError(
                    f"STT_SERVER_DEVICE={device} with STT_SERVER_COMPUTE_TYPE={compute_type} cannot be used: {exc}; "
                    "unset both to use the processor"
                ) from exc
            raise ModelCorrupt(f"model {model} in {folder} cannot be loaded: {exc}") from exc
        try:
            self._voice = silero_session()
            self._vocabulary = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as exc:
            raise ModelCorrupt(f"model {model} in {folder} cannot be loaded: {exc}") from exc
        self._features = LogMel(self._whisper.n_mels)
        self._offset_s = _OFFSET_S.get(model, 0.0)
        self.language, self._spoken, self._prompt = self._choose_language(language)
        self.max_joined_s = _MAX_JOINED_PROMPTED_S if self._prompt else _MAX_JOINED_S
        # -1 stands for the tokens that the model's own configuration suppresses.
        self._suppressed = [-1, *(cantonese_prompt.digit_tokens(self._vocabulary.get_vocab()) if self._prompt else ())]
        self._tokenizers: dict[str, WhisperTokens] = {}

    def voice_detector(self) -> VoiceDetector:
        return Silero(self._voice)

    def close(self) -> None:
        self._whisper.unload_model()

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        """See `Recognizer.recognize`."""
        duration_s = len(samples) / SAMPLE_RATE
        if duration_s < _MIN_SEGMENT_S:
            return Recognition("")
        # The spectrogram is computed once, also if the segment is decoded again with another window.
        found = self._decode_well(self._features(samples), duration_s, final)
        if found is None:
            return Recognition("")
        decoded, tokens, language = found
        if not final:
            return Recognition(decoded.text, (), language)
        (alignment,) = self._align(decoded.encoded, [decoded.tokens], tokens, duration_s)
        words = merged(self._words(decoded, alignment, tokens, duration_s))
        return Recognition(decoded.text, tuple(words), language)

    def recognize_batch(self, groups: Sequence[Sequence[Samples]]) -> list[list[Recognition]]:
        """See `BatchRecognizer.recognize_batch`."""
        # The language of each segment is detected, so segments are not joined.
        if self._spoken is None or (len(groups) == 1 and len(groups[0]) == 1):
            return [[self.recognize(segment, final=True) for segment in group] for group in groups]
        joined = [JoinedSegments.of(group) for group in groups]
        longest_s = max(one.duration_s for one in joined)
        encoded = self._encode([self._features(one.samples) for one in joined], _window_s(longest_s))
        tokens, language = self._tokenizer(encoded)
        rows = self._decode(encoded, tokens, longest_s, final=True, count=len(joined))
        alignments = self._align(encoded, [row.tokens or [tokens.eot] for row in rows], tokens, longest_s)
        return [
            self._divided(one, row, alignment, tokens, language)
            if self._is_sound(row, one.duration_s)
            # One segment may have spoiled the text of the others, so each is recognized alone.
            else [self.recognize(segment, final=True) for segment in group]
            for group, one, row, alignment in zip(groups, joined, rows, alignments, strict=True)
        ]

    def _is_sound(self, decoded: _Decoded, duration_s: float) -> bool:
        """Whether the text of joined segments shows no sign of a loop, of silence, or of a repeated prompt."""
        return not (
            _suspect(decoded, duration_s)
            or _is_silence(decoded, duration_s)
            or len(without_final_loop(decoded.tokens, duration_s)) < len(decoded.tokens)
            or (self._prompt and cantonese_prompt.is_prompt_echo(decoded.text, decoded.no_speech, decoded.mean_logprob))
        )

    def _divided(
        self, joined: JoinedSegments, decoded: _Decoded, alignment: Any, tokens: WhisperTokens, language: str | None
    ) -> list[Recognition]:
        """Return the result of each of the joined segments."""
        words = joined.divided(self._words(decoded, alignment, tokens, joined.duration_s))
        return [Recognition(text_of(some), tuple(merged(some)), language) for some in words]

    def _decode_well(
        self, features: Features, duration_s: float, final: bool
    ) -> tuple[_Decoded, WhisperTokens, str | None] | None:
        """Decode a segment, again if the text looks wrong. Returns the text, its tokenizer and its language, or None if
        the segment has no speech."""
        window_s = _window_s(duration_s)
        encoded = self._encode([features], window_s)
        tokens, language = self._tokenizer(encoded)
        decoded = self._decode(encoded, tokens, duration_s, final)[0]
        # If the text looks wrong, try again with a window of 30 s, for which the models were trained.
        if final and window_s < _MAX_WINDOW_S and _suspect(decoded, duration_s):
            decoded = self._decode(self._encode([features], _MAX_WINDOW_S), tokens, duration_s, final)[0]
        decoded = _without_loop(decoded, tokens, duration_s)
        if self._prompt and cantonese_prompt.is_prompt_echo(decoded.text, decoded.no_speech, decoded.mean_logprob):
            if not cantonese_prompt.may_have_speech(decoded.no_speech):
                return None
            decoded = self._decode(encoded, tokens, duration_s, final, prompted=False)[0]
            decoded = _without_loop(decoded, tokens, duration_s)
            if decoded.mean_logprob < _MIN_LOGPROB:
                return None
        return None if _is_silence(decoded, duration_s) else (decoded, tokens, language)

    def _choose_language(self, wanted: str | None) -> tuple[str | None, str | None, str]:
        """Return the language to report to clients, the language to recognize (None: detect it in each segment), and a
        text prompt for the model. Raises LanguageUnsupported."""
        if not self._whisper.is_multilingual:
            if wanted not in (None, "en"):
                raise LanguageUnsupported(
                    f"STT_SERVER_LANGUAGE: model {self.model} supports only English, not {wanted!r}; "
                    "choose a multilingual model, for example STT_MODEL=base (pip install 'stt-batch[local-multi]')"
                )
            return "en", "en", ""
        # A model without the language's token does not fail: it writes nonsense. Models before large-v3 have none for
        # Cantonese.
        if wanted is None or self._vocabulary.token_to_id(f"<|{wanted}|>") is not None:
            return wanted, wanted, ""
        if wanted == "yue":
            _log.warning(
                "this model was not trained for Cantonese: a prompt makes it write spoken Cantonese, with about one "
                "wrong character in four; for better text use a model that knows Cantonese, such as --model large-v3",
                model=self.model,
            )
            return "yue", "zh", cantonese_prompt.PROMPT
        raise LanguageUnsupported(f"STT_SERVER_LANGUAGE: model {self.model} does not support the language {wanted!r}")

    def _tokenizer(self, encoded: Any) -> tuple[WhisperTokens, str | None]:
        spoken = self._spoken
        if spoken is None:
            token, _probability = self._whisper.detect_language(encoded)[0][0]
            spoken = token.strip("<|>")
        if spoken not in self._tokenizers:
            language = spoken if self._whisper.is_multilingual else None
            self._tokenizers[spoken] = WhisperTokens(self._vocabulary, language)
        return self._tokenizers[spoken], self.language or spoken

    def _encode(self, features: Sequence[Features], window_s: float) -> Any:
        """Encode segments in windows of one length, in one call."""
        whole = np.stack([one.window(window_s) for one in features])
        return self._whisper.encode(ctranslate2.StorageView.from_array(whole))

    def _decode(
        self,
        encoded: Any,
        tokens: WhisperTokens,
        duration_s: float,
        final: bool,
        *,
        count: int = 1,
        prompted: bool = True,
    ) -> list[_Decoded]:
        """Decode `count` encoded segments in one call. `duration_s`: length of the longest one."""
        prompt = self._prompt_of(tokens, prompted)
        results = self._whisper.generate(
            encoded,
            [prompt] * count,
            beam_size=5 if final else 1,
            # The model's own limit is 448 tokens. The limit of 9 tokens per second ends a loop in which the model
            # repeats itself.
            max_length=min(448, len(prompt) + 12 + math.ceil(9 * duration_s)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )
        return [_decoded(result, tokens, encoded) for result in results]

    def _prompt_of(self, tokens: WhisperTokens, prompted: bool) -> list[int]:
        # Word times come from the alignment (`_words`), so the model writes no timestamps.
        prompt = [*tokens.sot_sequence, tokens.no_timestamps]
        if self._prompt and prompted:
            return [tokens.sot_prev, *tokens.encode(" " + self._prompt), *prompt]
        return prompt

    def _align(self, encoded: Any, texts: list[list[int]], tokens: WhisperTokens, duration_s: float) -> list[Any]:
        """Align the texts of encoded segments with their audio, in one call."""
        frames = max(1, round(duration_s * FRAMES_PER_S))
        return list(self._whisper.align(encoded, tokens.sot_sequence, texts, frames, median_filter_width=7))

    def _words(self, decoded: _Decoded, aligned: Any, tokens: WhisperTokens, duration_s: float) -> list[RecognizedWord]:
        """Return the words with their times. Words have their spaces, and punctuation marks are words."""
        if not decoded.tokens or not aligned.alignments:
            return []
        pairs = np.array(aligned.alignments)
        # The alignment has one or more time steps for each token. The first one is the start of the token.
        first = np.concatenate([[True], np.diff(pairs[:, 0]) > 0])
        times = pairs[first, 1] / _TOKENS_PER_S - self._offset_s
        probabilities = aligned.text_token_probs
        words: list[RecognizedWord] = []
        earliest, low = 0.0, 0
        for word in tokens.words(decoded.tokens):
            high = low + len(word.tokens)
            start = min(max(float(times[low]), earliest), duration_s)
            end = min(max(float(times[min(high, len(times) - 1)]), start), duration_s)
            logprob = float(np.mean(np.log(np.maximum(probabilities[low:high], 1e-6))))
            words.append(RecognizedWord(word.text, start, end, logprob))
            earliest, low = start, high
        return words


def _window_s(duration_s: float) -> float:
    """Return the length of the window for a segment of `duration_s` seconds."""
    return min(_MAX_WINDOW_S, max(15.0, duration_s + 5.0))


def _decoded(result: Any, tokens: WhisperTokens, encoded: Any) -> _Decoded:
    # The ids of all special tokens are `eot` or higher.
    text_tokens = [token for token in result.sequences_ids[0] if token < tokens.eot]
    text = tokens.decode(text_tokens).strip()
    length = len(result.sequences_ids[0])
    return _Decoded(
        tokens=text_tokens,
        text=text,
        # CTranslate2 divides by the number of tokens, Whisper by one more (for the end). The thresholds of
        # `_is_silence` are those of Whisper.
        mean_logprob=result.scores[0] * length / (length + 1),
        no_speech=result.no_speech_prob,
        compression=_compression(text),
        encoded=encoded,
    )


def _suspect(decoded: _Decoded, duration_s: float) -> bool:
    """Whether the text looks like a loop in which the model repeated itself: it compresses well, or is too long."""
    # 2.4 is Whisper's default threshold of the compression ratio.
    return decoded.compression > 2.4 or len(decoded.tokens) > 8 + 7 * duration_s


def _without_loop(decoded: _Decoded, tokenizer: WhisperTokens, duration_s: float) -> _Decoded:
    """Return the decoded text without a repetition loop at its end. The text before the loop is speech."""
    tokens = without_final_loop(decoded.tokens, duration_s)
    if len(tokens) == len(decoded.tokens):
        return decoded
    text = tokenizer.decode(tokens).strip()
    return replace(decoded, tokens=tokens, text=text, compression=_compression(text))


def _compression(text: str) -> float:
    """Return how many times smaller zlib makes the text. High for repetitions."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def _is_silence(decoded: _Decoded, duration_s: float) -> bool:
    """Whether the segment has no speech. If so, the model invented its text, and the text must be dropped."""
    if not any(c.isalnum() for c in decoded.text):
        return True
    # Speakers also repeat themselves, but a loop of the model has more words than can be spoken in `duration_s`
    # seconds. `_without_loop` has already removed exact loops, so this check finds loops with variations.
    if decoded.compression > 2.6 and len(decoded.tokens) > 8 + 5 * duration_s:
        return True
    # Both thresholds are the defaults of Whisper.
    return decoded.no_speech > 0.6 and decoded.mean_logprob < _MIN_LOGPROB


def load(settings: Settings) -> Whisper:
    """Load the engine `faster-whisper` with the model of the settings. A model that is not installed is downloaded from
    the model hub. Raises ModelUnavailable, ModelCorrupt or LanguageUnsupported."""
    _silence_libraries()
    _log.info("loading recognizer", ctranslate2=ctranslate2.__version__)
    # One BLAS thread only: the matrix product of the spectrogram would wake a second one, whose busy waiting then took
    # a quarter of all CPU time.
    threadpoolctl.threadpool_limits(limits=1, user_api="blas")
    cache = model_files.cache_folder(settings.server_model_cache)
    folder = model_files.find(settings.model, cache) or _from_hub(settings.model, cache)
    device = settings.server_device
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    # Each thread of a GPU would have a copy of the model in its memory.
    parallel = settings.server_threads or (available_cores() if device == "cpu" else 1)
    return Whisper(
        folder,
        settings.model,
        settings.server_language or None,
        parallel,
        device=device,
        compute_type=settings.server_compute_type or ("int8" if device == "cpu" else "float16"),
        batch_size=settings.server_batch_size or (1 if device == "cpu" else 8),
    )


def _silence_libraries() -> None:
    """Silence CTranslate2 and older hub clients, because they print warnings to standard error and ignore the
    configuration of logging. Failures are not hidden, because these libraries raise exceptions for failures."""
    ctranslate2.set_log_level(logging.CRITICAL)
    logging.getLogger("huggingface_hub").handlers.clear()


def _from_hub(model: str, cache: Path) -> Path:
    from faster_whisper.utils import download_model  # noqa: PLC0415  loads FFmpeg and the client of the hub

    model_files.check_name(model)
    target = str(cache / "hub")
    try:
        # A model in the cache is used without a request to the hub, so the server also starts while the hub is
        # unreachable.
        return Path(download_model(model, cache_dir=target, local_files_only=True))
    except Exception:  # noqa: BLE001 - not cached; the hub client raises various errors
        _log.info("downloading model", model=model)
    try:
        return Path(download_model(model, cache_dir=target))
    except Exception as exc:
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise ModelUnavailable(
            f"model {model!r} is not installed and cannot be downloaded ({reason}); {model_files.how_to_install(model)}"
        ) from exc
