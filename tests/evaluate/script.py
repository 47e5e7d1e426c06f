"""Wrong characters of `--script hk`: traditional text of Hong Kong, simplified by OpenCC, and converted back.

Each line of a file is a sentence in the spelling of Hong Kong. A character that differs after both conversions is an
error, with two exceptions. People in Hong Kong use some pairs of characters (裏 and 裡) interchangeably, and simplified
text has one character for both. Forums contain misspellings: simplified characters, and 系 for 係. Sentences in
simplified Chinese or Japanese are omitted. The original text is also converted directly, and should not change.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import opencc

from worker.transcript.script_characters import is_only_simplified
from worker.transcript.subtitles.chinese_script import convert, is_simplified
from worker.transcript.subtitles.chinese_words import word_begins

SENTENCES = Path(__file__).parent / "script.txt"
MAX_WRONG_PER_1000 = 1.0
_PAIRS: Final = (
    "裏裡 說説 床牀 台臺 溫温 搵揾 衞衛 群羣 戶户 着著 為爲 啟啓 綫線 峰峯 脫脱 稅税 "
    "閱閲 悅悦 銳鋭 吃喫 檯枱 舖鋪 唇脣 煙菸 秘祕 粧妝 痴癡 艷豔 鷄雞 周週 杯盃 布佈 "
    "占佔 洩泄 注註 鑑鑒 柜櫃 痺痹 踪蹤 跡迹 腳脚 卻却 強强 眾衆 蔥葱 沖冲 凶兇 決决 "
    "涼凉 減减 汙污 偽僞 真眞 溼濕 嚐嘗 鐵鉄 痲麻 鎚錘 線綫 館舘 粽糉 恒恆 鬥鬭 証證 "
    "傢家 歎嘆 蓆席 撑撐 淒悽 鏈鍊 佣傭 儘盡 毀燬 藴蘊 叠疊 岳嶽 恤卹 盪蕩 姦奸 枴柺 "
    "升陞 醖醞 剷鏟 殭僵 拚拼 况況 臥卧 查査 鈎鉤 勳勛 響响 煉鍊 藉借 了瞭 雇僱 托託 "
    "扎紮 炮砲 升昇 厘釐 庄莊 背揹 并並 匯滙 獎奬 兌兑 鏽銹 帳賬 豬猪 念唸 琼瓊 耻恥 箇個 纔才 蠔蚝 凈淨 "
    "閑閒 旣既 顔顏 貍狸 羡羨 淩凌 墻牆 灶竈 剋克 塚冢 蒐搜 跡蹟 咨諮 蘇甦 俬私 蝨虱 板闆 慾欲 夥伙 匯彙 麽麼 剎刹 "
    "喎㖞 内內 哄鬨 迴回 毡氈 覆複 稜棱 撲扑 繮韁 彷仿 彿佛 譁嘩 糰團 痠酸 慤愨 牴抵 産產 録錄 飢饑 "
    "艷豔 絶絕 呑吞 嫻嫺 輓挽 殼殻 敘敍 毁毀 廁厠 鹵滷 癒愈 麵麫 絃弦 柺拐 竪豎 囪囱 懞蒙 崙侖"
)
"""Spellings that are used side by side in Hong Kong."""
_EQUAL: Final = frozenset(map(frozenset, _PAIRS.split()))
_TYPED_FOR: Final = frozenset((("曬", "晒"), ("咸", "鹹"), ("沈", "沉"), ("濕", "溼")))
"""Characters that are also typed for another one, and the other one: 曬 for the particle 晒."""
_BEFORE_DEPARTMENT: Final = tuple("學文史理治工商法醫")
"""Characters after which 系 is a department, not a misspelling."""
_KANA: Final = re.compile("[\u3041-\u30ff]")
_simplifier = opencc.OpenCC("t2s")


@dataclass(slots=True)
class Result:
    characters: int = 0
    """Chinese characters of the sentences."""
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Expected and written character, with the number of errors."""
    equal: int = 0
    """Differences between two spellings in use."""
    without_evidence: int = 0
    """Errors in sentences whose simplified form does not show that it is simplified."""
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Characters of the traditional text that the conversion changes."""
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def wrong_per_1000(self) -> float:
        return 1000 * self.wrong.total() / max(1, self.characters)


def measure(sentences: Iterable[str]) -> Result:
    result = Result()
    for spelled in sentences:
        if _KANA.search(spelled) or is_simplified(spelled):
            continue
        sentence = (
            unicodedata.normalize("NFC", spelled).replace("鐘意", "鍾意").replace("麪", "麵")
        )  # a misspelling, and a spelling that merges
        simplified = _simplifier.convert(sentence)
        written = convert(simplified, "hk")
        if len(simplified) != len(sentence):
            continue
        result.characters += sum("\u3400" <= char <= "\u9fff" or char >= "\U00020000" for char in sentence)
        result.changed.update((a, b) for a, b in zip(sentence, convert(sentence, "hk"), strict=True) if a != b)
        for at, pair in enumerate(zip(sentence, written, strict=True)):
            if pair[0] == pair[1]:
                continue
            if frozenset(pair) in _EQUAL or pair in _TYPED_FOR or _is_misspelled(sentence, at):
                result.equal += 1
                continue
            result.wrong[pair] += 1
            result.without_evidence += not is_simplified(simplified)
            context = f"{sentence[max(0, at - 6) : at]}[{pair[0]}]{sentence[at + 1 : at + 7]}"
            result.examples.setdefault(pair, []).append(context)
    return result


def _is_misspelled(sentence: str, at: int) -> bool:
    """Whether the character at an index is simplified, or 系 as a word of its own."""
    if sentence[at] == "系":
        begins = {*word_begins(sentence), len(sentence)}
        return {at, at + 1} <= begins and sentence[at - 1 : at] not in _BEFORE_DEPARTMENT
    return is_only_simplified(sentence[at])


def load(path: Path) -> list[str]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.evaluate script", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("files", nargs="*", type=Path, default=[SENTENCES], help="files with a sentence a line")
    parser.add_argument("--errors", type=int, default=10, metavar="N", help="list the N most frequent errors")
    options = parser.parse_args(arguments)
    good = True
    for path in options.files:
        result = measure(load(path))
        holds = result.wrong_per_1000 <= MAX_WRONG_PER_1000
        good &= holds
        sys.stdout.write(
            f"{path.name}  {result.characters} characters  {result.wrong_per_1000:.2f} wrong per 1,000"
            f" ({result.without_evidence} of {result.wrong.total()} in sentences that do not show their script)"
            f"  {'holds' if holds else 'FAILS'}\n"
            f"    beside {result.equal} with another spelling in use;"
            f" {result.changed.total()} characters of the traditional text changed\n"
        )
        for (expected, written), count in result.wrong.most_common(options.errors):
            examples = "  ".join(result.examples[expected, written][:3])
            sys.stdout.write(f"    {count:4d}  {expected} written as {written}  {examples}\n")
    return 0 if good else 1
