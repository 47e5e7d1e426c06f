"""Contexts that decide between two traditional forms of a character, as an addition to `cantonese_characters`. No I/O.

Each pattern is searched in the original text, after the rules of that module. Its groups get the replacement.
"""

from __future__ import annotations

from typing import Final

_ANIMALS: Final = "猫|狗|猪|鸡|鸭|鹅|牛|羊|马|鱼|虾|蟹|兔|鼠|龟|虎|熊|象|鸟|雀|猴|狮|龙|鬼|手|脚"
_FIELDS: Final = (
    "历史|体育|机械|计算机|电机|地质|导演|戏剧|摄影|数理|细胞|文学|医疗|美术|自动化|护理|中文|英文|哲学|物理|化学|数学"
    "|生物|法律|经济|工程|新闻|会计|音乐|艺术|心理|社会学|地理|建筑|传理|翻译|中医|牙医|药剂|政治|设计|政政"
)
_END: Final = "(?=$|[，。？！、：])"
_AFTER_TRY: Final = "[睇问听帮试讲求教揾搵探见行玩食学谂想坐瞓等停影倾摸郁走跑返摇]"
"""Verbs before the particle 吓 (a bit)."""

CONTEXTS: Final[tuple[tuple[str, str], ...]] = (
    # 系: a department after its field, at the end or before its people.
    (
        rf"(?:{_FIELDS})(系)(?:{_END}|(?=同学|毕业|教授|主任|学生|师生|老师|讲师|师兄|师姐|[一二三四]年|嘅(?:同学|学生|教授|师)))",
        "系",
    ),
    (r"(?:参考|参照|恒星|银河|太阳|[三二]叠|侏罗|奥陶|石炭|寒武|旁)(系)" + _END, "系"),
    (r"(系)(?=数(?!学|佢|你|我|到))|关(?=系数据|系型)(系)", "系"),
    (r"关(系)(?=数据)", "係"),
    (r"[心情牵](系)(?=家|香港|祖国|社区)|(系)(?=铃|辞)", "繫"),
    # 吓: 嚇 before its result, but not after a verb of trying (试吓走).
    (
        rf"[恫威](吓)|(?<!{_AFTER_TRY})(吓)(?=[跑呆昏晕傻醒窒倒破怕走死坏亲]|到(?:我|你|佢|傻|呆|死|瘫|失|眼|面|魂|成))",
        "嚇",
    ),
    (
        r"[指恐靠](吓)(?=$|[，。我你佢啲])|(?:唔好|唔使|咪|想|嚟|特登|俾佢|畀佢|俾你|畀你)(吓)(?=我|佢|你|人|到|$|[，。])",
        "嚇",
    ),
    (rf"{_AFTER_TRY}(吓)(?=[跑走死坏倒])", "吓"),
    # 須: a beard or feelers. 无须 before a verb is "need not".
    (
        r"[条撮吹蚊冇留剃刮捋白八长鬍胡满](须)(?![要知得])|有(须)(?=$|[，。嘅就])|无(须)(?=嘅人|$|[，。])|(须)(?=须)",
        "鬚",
    ),
    # 表: 錶, a watch or meter.
    (
        r"[看睇望对戴](表)"
        + _END
        + r"|落(表)(?![示现达格])|(表)(?=[壳针盘链圈冠]|身(?!份))|[怀腕钟电水怪咪](表)(?![示现达格演面情])",
        "錶",
    ),
    (r"[图列时](表)", "表"),
    # 干: 乾 after verbs of drying, and as a result.
    (r"[揈㷫捹擰拧抆印晒](干)(?![活嘛事掉])|又(干)(?=又|$|[，。])|[会好仲唔](干)(?=㗎|$|[，。])", "乾"),
    # 蒙, 松, 云, 杰, 斗, 复, 折.
    (r"白(蒙)(蒙)", "濛"),
    (r"[就即快](松)" + _END + r"|(松)(?=骨|脚|晒|绑|人|绑)|成身(松)", "鬆"),
    (r"(云)(?=[：「])|[人诗书子经亦](云)(?=[：「])", "云"),
    (r"[几够](杰)(?=$|[，。㗎喇啦啊])", "杰"),
    (r"(斗)(?=大力|重|远|高|长|吃|食|饮|飲|跑)|[一有得](斗)(?=$|[，。㗎])", "鬥"),
    (r"[泥正屎粪瓜𢫏](斗)(?![争气])", "斗"),
    (r"打几个(折)(?=$|[，。啊㗎嘅])(?<![0-9一二三四五六七八九]折)", "摺"),
    (r"(折)(?=痕|皱)", "摺"),
    # 只: a measure word after these verbs and particles, and before a described animal.
    (rf"(只)(?=[死活生野山家小大老肥瘦黑白花衰细傻蠢病]{{1,2}}(?:{_ANIMALS})(?![学生]))", "隻"),
    (
        r"[同似畀俾](只)(?=死|是非|中指|山|野|妖|大|细|老)|如果(只)(?=股)|自己(只)(?=[人手脚])|(只)(?=[山死]猪|怪兽|是非鬼)",
        "隻",
    ),
    (r"[鸭鸡鹅](只)能(只)", "隻"),
    (r"(?:但系|不过|因为)(?:好多|最多|一般)?(只)(?=系|是|讲|识|得)", "只"),
    # 面: noodles.
    (
        r"(?:三宝|排骨|珍味|牛腩|擔仔|担仔|干烧伊|云吞|净|捞|车仔|公仔|即食|杯|龙须|刀削|担担|辛辣?|油泼|[煮整食]碗)(面)(?![对前包目])",
        "麵",
    ),
    (r"[煮倒捞淥渌](?:晒|咗|啲|个|碗|晒啲|啲啲)(面)(?![包对前])", "麵"),
    # 喂: feed, before or after a clause border.
    (r"[硬日要唔肯先](喂)(?=$|[，。佢乜奶])|(喂)(?=人奶|母乳|咗[奶狗猫佢])", "餵"),
    (r"哈[啰罗囉](喂)", "喂"),
    # 钟: the surname, before a name of two characters.
    (
        r"(?:^|[，。、：「叫系係同请]|演员|歌手|导演|主席|校长|议员|记者|教授)(钟)"
        r"(?=(?![头声表点楼数意情乐罩摆面])[一-鿿]{2}(?:$|[，。、」嘅话讲先小太博教]))",
        "鍾",
    ),
    (r"[冲](?<!脉)(冲)(?=冲)", "沖"),
    (r"[脉猛反对折左俯](冲)|(冲)(?=[着殺杀程量压激撞浪刺闸线红过向])|(冲)(?=右突|出[嚟来去])", "衝"),
    (r"(?:怒气|兴|气|急急)(冲)(冲)", "沖"),
)
"""Pattern and replacement, in the order of their application."""

UNDECIDED: Final[tuple[tuple[str, str], ...]] = tuple(
    rule for rule in CONTEXTS if rule[1] in ("嚇", "麵", "鬆", "錶", "乾")
)
"""Rules that also apply to text of characters of both scripts: traditional text has the replacement there, too."""
