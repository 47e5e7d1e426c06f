"""Converts Chinese text to another script with OpenCC: Hong Kong or Taiwan traditional characters, or simplified ones.

Only characters change, not the choice of words: `軟件` stays `軟件` in Taiwan's script. Latin letters, digits and
punctuation do not change. The script of each segment is detected separately, because a recognizer may change the script
within a file. Without clear evidence of simplified text, a segment is treated as traditional: the tables for simplified
text would damage traditional text (`姓余` would become `姓餘`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from worker.transcript.model import Quality, Revision, Segment, SegmentChange, Transcript, Word
from worker.transcript.script_characters import encodes, is_only_simplified, is_only_traditional, table
from worker.transcript.subtitles.cantonese_characters import correct_simplified, correct_traditional
from worker.transcript.subtitles.hong_kong_words import correct_words
from worker.transcript.subtitles.lane_names import lane_names
from worker.transcript.subtitles.style import Script

_FROM_SIMPLIFIED: Final[dict[Script, str]] = {"hk": "s2hk", "tw": "s2tw"}
# Traditional text is first converted from the characters of the other region to the common traditional characters.
_FROM_TRADITIONAL: Final[dict[Script, tuple[str, ...]]] = {
    "hk": ("tw2t", "t2hk"),
    "tw": ("hk2t", "t2tw"),
    "cn": ("hk2t", "t2s"),
}
_TYPED: Final = str.maketrans("説羣牀户温揾麪脱鋭閲悦税醖藴枱呑峯嫺豔", "說群床戶溫搵麵脫銳閱悅稅醞蘊檯吞峰嫻艷")
"""OpenCC's Hong Kong characters that people in Hong Kong hardly type, and the ones that they type."""
_NOT_TYPED: Final = frozenset("汙僞眞綑")
"""Old characters that are converted in traditional text. Others stay as they were typed."""
_OF_TAIWAN: Final = frozenset("著爲臺溼祕菸裡")
"""Characters of Taiwan that are also typed in Hong Kong. Two of them in a text are evidence that it is from Taiwan:
only then they are converted."""
_MIN_OF_TAIWAN: Final = 2
_SIMPLIFIED_WORDS: Final = re.compile(
    "[之以然最今先前日月年天周个幕向身事落醉酒而背死]后|后[来面尾日生果悔边期空方退勤备便援台]"
    "|[呢嗰屋家边城心表死眼夜手梦哪那这哩]里(?!程|数)|里[面边便]|几[多个时]|冲[突动锋击破刺劲]|[策计规]划"
    "|[示典防规模]范|范[围畴例]|[多剩其业残盈]余|余[下额款生辜数]|丰[富盛衣收满功]|云吞|[风乌白多]云|云[集层端]"
    "|[特象性]征|重复|复杂|[关对由属终等至在位出制忠流醉令施安形]于|于是|影响|音响|响[应亮]|[十百千万]松|松[懈弛绑]"
    "|肉松|水准|瞄准|合伙|糊涂|涂[改鸦层料]|[豪俊]杰|杰出|抵御|雇[员主佣]|饼干|[什怎多这那]么|干[净杯燥脆炒烧]|牛肉干"
    "|提子干|芒果干|旅游|游[客戏玩览]|制[品造]|[械格决争奋]斗|斗[争志士]|斗地主"
    "|(?:公仔|拉|炒|伊|即食|云吞|牛[肉腩筋]|[餐腿]蛋|油渣|肉燥|排|伴|煮)面(?![子前对目])|烘?面包(?!括)|面[粉团条店]"
    "|[多少生卒身鉴鑒已]于(?!先生|小姐)|(?<![皇太王天影歌视視艳艷帝母蜂蚁妈媽武吕呂姓阿])后(?![座羿宫宮冠妃土稷街海姓先小生]|$)|甚么|[怕知遮]丑|[恐阻]吓|吓[死大亲]|一于|于(?=[二一0-9])|[晾抹整未]干(?=$|佢|[，。])"
    "|[百千几0-9一二三四五六七八九十]松啲|[唔不]舍得|舍不得|咸[蛋魚鱼水菜肉]|余地|有余(?=$|[，。])|[好作]准(?=$|[，。㗎])|外游|[郊重手]游|游埠|游山玩水|一日游|制作|炮制|自制(?!力)"
)
"""Words of characters of both scripts that are written so only in simplified text."""


def in_script(transcript: Transcript, script: Script | None) -> Transcript:
    """Return the transcript with its text and words in `script`. If `script` is None, it is returned unchanged."""
    if script is None:
        return transcript
    segments = tuple(_segment(segment, script) for segment in transcript.segments)
    text = "\n".join(convert(line, script) for line in transcript.text.split("\n"))
    revisions = tuple(_revision(revision, script) for revision in transcript.revisions)
    return transcript.model_copy(
        update={
            "text": text,
            "segments": segments,
            "quality": _quality(transcript.quality),
            "revisions": revisions,
        }
    )


def _revision(revision: Revision, script: Script) -> Revision:
    """Return the corrections in the script, so that they do not bring the other script back."""
    changes = tuple(_change(change, script) for change in revision.changes)
    return revision.model_copy(update={"changes": changes})


def _change(change: SegmentChange, script: Script) -> SegmentChange:
    if change.text is None:
        return change
    converted = _segment(Segment(text=change.text, start=0, end=0, words=change.words), script)
    return change.model_copy(update={"text": converted.text, "words": converted.words})


def _quality(quality: Quality | None) -> Quality | None:
    """Return the quality without the reason that the text mixes scripts, because the converted text has only one
    script."""
    if quality is None:
        return None
    reasons = tuple(reason for reason in quality.reasons if reason.code != "script")
    return quality.model_copy(update={"reasons": reasons, "needs_review": bool(reasons)})


def convert(text: str, script: Script) -> str:
    """Return the text of one segment in `script`. The number of characters does not change."""
    changed = _to_simplified(text) if script == "cn" else _to_traditional(text, script)
    return changed if len(changed) == len(text) else text


def is_simplified(text: str) -> bool:
    """Whether more characters of a text exist only in the simplified script than only in the traditional script."""
    simplified = sum(map(is_only_simplified, text)) + len(_SIMPLIFIED_WORDS.findall(text))
    return simplified > sum(map(is_only_traditional, text))


def _to_traditional(text: str, script: Script) -> str:
    if is_simplified(text):
        changed = table(_FROM_SIMPLIFIED[script]).convert(text)
        if len(changed) != len(text):
            return text
        changed = correct_simplified(text, changed.translate(_TYPED) if script == "hk" else changed)
        return _with_words(text, changed)
    changed = text
    for name in _FROM_TRADITIONAL[script]:
        changed = table(name).convert(changed)
    if len(changed) != len(text):
        return text
    if script == "hk":
        foreign = _NOT_TYPED if len(_OF_TAIWAN.intersection(text)) < _MIN_OF_TAIWAN else _NOT_TYPED | _OF_TAIWAN
        changed = "".join(after if before in foreign else before for before, after in zip(text, changed, strict=True))
    # Single simplified characters in traditional text, such as 这, are never meant as they are.
    if any(map(is_only_simplified, text)):
        simplified = table(_FROM_SIMPLIFIED[script]).convert(text).translate(_TYPED if script == "hk" else {})
        changed = "".join(s if is_only_simplified(c) else t for c, t, s in zip(text, changed, simplified, strict=True))
    undecided = not any(map(is_only_traditional, text))
    changed = correct_traditional(text, changed, undecided=undecided)
    return correct_words(text, changed) if undecided else changed


def _with_words(original: str, converted: str) -> str:
    chars = list(correct_words(original, converted))
    for at in lane_names(original):
        chars[at] = "里"
    return "".join(chars)


def _to_simplified(text: str) -> str:
    """Return the text in simplified characters. A character does not change if common fonts lack its simplified
    form."""
    if not any(map(is_only_traditional, text)):
        return text
    changed = text
    for name in _FROM_TRADITIONAL["cn"]:
        changed = table(name).convert(changed)
    if len(changed) != len(text):
        return text
    return "".join(a if encodes(a, "gbk") else b for b, a in zip(text, changed, strict=True))


def _segment(segment: Segment, script: Script) -> Segment:
    text = convert(segment.text, script)
    return segment.model_copy(update={"text": text, "words": tuple(_words(segment, text, script))})


def _words(segment: Segment, converted: str, script: Script) -> Iterator[Word]:
    """Yield the words of a segment in the script.

    The words are taken from the converted text of the segment, because the conversion of a character depends on its
    neighbours. A word that is not found in the text is converted separately."""
    at = 0
    for word in segment.words:
        begin = segment.text.find(word.text, at)
        if begin < 0:
            text = convert(word.text, script)
        else:
            at = begin + len(word.text)
            text = converted[begin:at]
        yield replace(word, text=text)
