"""Patterns of surnames whose traditional form is the same character: 余 in 余小姐, but 餘 in 其餘. No I/O.

Each pattern is searched in the original text. An empty replacement restores the original character of group 1.
"""

from __future__ import annotations

from typing import Final

TITLE: Final = (
    "先生|小姐|女士|太太|太[^平空陽阳]|太$|生[^活產产意命]|生$|生活?[得嗰個]|[Ss]ir|醫生|医生|律師|律师|教授|老師|老师|經理|经理|主任|主席|同學|同学|校長|校长"
    "|局長|局长|司長|司长|處長|处长|部長|部长|議員|议员|警官|督察|師傅|师傅|師兄|师兄|師奶|师奶|醫師|医师|博士|導演|导演|老闆|老板|總|总|"
    "伯|叔|姨|婆|公子|家姐|哥|姐|仔(?!細|细)|姑娘|護士|护士|記者|记者|法官|官|隊長|队长|牧師|牧师|神父|氏|某|姓|婦|妇"
)
_NAMES: Final = (
    "余文乐|余文樂|余诗曼|余光中|余秋雨|余华|余天|余男|余安安|余慕莲|余若薇|余嘉伦|余香凝|余衍隆|余德丞|余仁生|余振强"
    "|于谦|于右任|于丹|于和伟|于正|于洋|于朦胧|于品海|范冰冰|范玮琪|范徐丽泰|郁达夫|云浩影|岳飞|岳云鹏|谷德昭|朱古力|周星驰|周润发"
    "|游乃海|胡杏儿|胡定欣|姜大卫|姜涛|沈殿霞|千岛|万梓良|万绮雯|余永姍|余永珊"
)
_AS_IT_IS: Final = "余于范姜沈云谷岳涂仇曲朱向卜占胡游周松咸郁干台里"
"""Surnames whose traditional form is the same character."""
_BEFORE_NAME: Final = "姓|^阿|叫|係|系|同|搵|揾|問|问|見|见|話|话|請|请|位"
_BY_CONTEXT: Final = (
    (rf"(?<![不等相雷])(?:{_BEFORE_NAME})(?:阿|老|小)?([{_AS_IT_IS}])(?={TITLE}|$|[，。？！、 ])", ""),
    (rf"姓([{_AS_IT_IS}])", ""),
    (
        r"(?:^|[，。、：「]|演员|歌手|导演|作者|作家|主席|校长|议员|记者|选手|球员|有关|叫做?|名叫)"
        r"(?!余[下生温热音波款额地数]|范[围畴例文]|涂[改鸦料层抹]|郁[闷金郁手动身]|岳[父母])([余范郁岳涂])(?=[一-鿿]{2}(?:$|[，。、」嘅话讲同系表同喺今]))",
        "",
    ),
    (r"阿([余于范姜沈云谷岳涂仇曲朱胡游周松])(?![头頭])", ""),
    (rf"(?<![其剩业業多盈结結残殘年关關对對由至属屬位等基处處不])([余于范姜沈谷岳涂仇曲朱胡游周])(?={TITLE})", ""),
    (
        r"(?<![其剩业多盈结残年关对由至属位等基处不])([余于范姜沈谷岳涂仇曲朱胡游周])(?=[一-鿿]{1,2}(?:先生|小姐"
        r"|女士|太太|醫生|医生|議員|议员|教授|律師|律师))",
        "",
    ),
)
_NAME_RULES: Final = tuple((rf"({name[0]})(?={name[1:]})", "") for name in _NAMES.split("|") if name[0] in _AS_IT_IS)
_REMAINDER: Final = (r"[度其劫](余)(?=生)", "餘")

SURNAME_RULES: Final[tuple[tuple[str, str], ...]] = (*_BY_CONTEXT, *_NAME_RULES, _REMAINDER)
