from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.transcript.build import segment, transcript
from worker.transcript.subtitles.chinese_script import in_script
from worker.transcript.subtitles.style import SCRIPTS, Script

MIXED = st.text(
    alphabet="我哋去咗中環軟件软件台臺里裏裡为爲為着著范後后，。「」 iPhone0123456789%.", min_size=1, max_size=60
)


def converted(text: str, script: Script) -> str:
    return in_script(transcript(segment(text, 0, 5)), script).text


@pytest.mark.parametrize(
    ("text", "script", "expected"),
    [
        ("桥下垂直净空15米，该项目于2011年8月完工", "hk", "橋下垂直淨空15米，該項目於2011年8月完工"),
        ("为什么软件里面没有", "tw", "為什麼軟件裡面沒有"),
        ("佢喺裏面着咗件衫，要去衞生署", "tw", "佢喺裡面著咗件衫，要去衛生署"),
        ("佢喺裡面著咗件衫，說得很著名", "hk", "佢喺裏面着咗件衫，說得很著名"),
        ("范小姐同皇后喺台灣食飯", "hk", "范小姐同皇后喺台灣食飯"),
        ("我哋喺軟件嘅裏面", "cn", "我哋喺软件嘅里面"),
        ("简体已经是了", "cn", "简体已经是了"),
        ("Nothing Chinese at 3.5%", "hk", "Nothing Chinese at 3.5%"),
    ],
)
def test_characters_change_and_words_do_not(text: str, script: Script, expected: str) -> None:
    assert converted(text, script) == expected


UNCHANGED_IN_HONG_KONG = (
    *(
        "我姓余，你可以叫我阿余。",
        "于先生",
        "范小姐同姜太傾緊",
        "搵說麵群床戶溫",
        "沈生話佢唔得閒",
        "后海灣",
        "裡面有衛生紙",
        "揾工",
        "講吓笑",
    ),
    *("搞掂晒", "唔好郁", "岳父", "曲奇", "系統故障", "中文系", "只係咁", "表示歡迎"),
)


@pytest.mark.parametrize("text", UNCHANGED_IN_HONG_KONG)
def test_traditional_text_as_typed_in_hong_kong_is_left_alone(text: str) -> None:
    assert converted(text, "hk") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("唔系", "唔係"), ("都系", "都係"), ("即系", "即係"), ("但系", "但係"), ("搞掂晒喇，复诊", "搞掂晒喇，覆診")),
        *(
            ("呢只股票", "呢隻股票"),
            ("手表", "手錶"),
            ("你养咗几只猫", "你養咗幾隻貓"),
            ("我只系想问下", "我只係想問下"),
        ),
        *(
            ("关系同系统", "關係同系統"),
            ("今日晒太阳晒到黑晒", "今日曬太陽曬到黑晒"),
            ("佢好忧郁，唔郁", "佢好憂鬱，唔郁"),
        ),
        *(
            ("飞发定系发现", "飛髮定係發現"),
            ("点钟，钟意", "點鐘，鍾意"),
            ("冲凉同冲突", "沖涼同衝突"),
            ("尽快回复", "盡快回覆"),
        ),
        *(
            ("我姓余，余先生讲，其余", "我姓余，余先生講，其餘"),
            ("关于于小姐嘅余额", "關於于小姐嘅餘額"),
            ("阿姜约咗范医生", "阿姜約咗范醫生"),
        ),
        *(
            ("云吞面同面包，饼干", "雲吞麵同麵包，餅乾"),
            ("老板话铺头冇人", "老闆話舖頭冇人"),
            ("吓？吓亲你", "吓？嚇親你"),
        ),
        *(
            ("系啊，放假系咁", "係啊，放假係咁"),
            ("𠮶只狗，哩只唔系", "嗰隻狗，哩隻唔係"),
            ("我哋去咗這间铺头，这个", "我哋去咗這間舖頭，這個"),
        ),
    ],
)
def test_cantonese_words_and_surnames_get_the_characters_of_hong_kong(text: str, expected: str) -> None:
    assert converted(text, "hk") == expected


OF_TWO_TRADITIONAL_CHARACTERS = {
    "鐘 and 鍾": [("够钟", "夠鐘"), ("我唔钟意", "我唔鍾意"), ("钟先生等咗半粒钟", "鍾先生等咗半粒鐘")],
    "隻 and 只": [
        ("佢买咗只表", "佢買咗隻錶"),
        ("嗰个大只佬净系得只手", "嗰個大隻佬淨係得隻手"),
        ("唔单只贵", "唔單只貴"),
    ],
    "後 and 后": [("三日后", "三日後"), ("后生仔唔见后台", "後生仔唔見後台"), ("太后同皇后来了", "太后同皇后來了")],
    "乾 and 幹": [("牛肉干", "牛肉乾"), ("条毛巾晾干咗", "條毛巾晾乾咗"), ("整干净啲先干得成", "整乾淨啲先幹得成")],
    "衝 and 沖": [("佢冲咗入嚟间铺", "佢衝咗入嚟間舖"), ("饮冲咗嘅奶茶", "飲沖咗嘅奶茶"), ("利益冲突", "利益衝突")],
    "準 and 准": [("唔准讲大话", "唔准講大話"), ("讲得好准", "講得好準"), ("水准", "水準")],
    "餵 and 喂": [("喂，喂咗只猫未呀个个", "喂，餵咗隻貓未呀個個"), ("去喂流浪猫", "去餵流浪貓")],
    "嚇 and 吓": [("佢吓咗我们一跳", "佢嚇咗我們一跳"), ("睇吓人哋点讲", "睇吓人哋點講"), ("吓？讲吓啫", "吓？講吓啫")],
    "鬆 and 松": [("肉松面包", "肉鬆麵包"), ("三十松啲嘅价钱", "三十鬆啲嘅價錢"), ("松树同松鼠嘅树", "松樹同松鼠嘅樹")],
    "麵 and 面": [("这碗牛筋面", "這碗牛筋麵"), ("前面间饼店嘅面包", "前面間餅店嘅麵包"), ("佢黑面", "佢黑面")],
    "薑 and 姜": [("姜葱鸡", "薑葱雞"), ("姜小姐夹够姜", "姜小姐夾夠薑")],
    "復, 複 and 覆": [
        ("康复中心", "康復中心"),
        ("想同前度复合", "想同前度復合"),
        ("更复杂", "更複雜"),
        ("复诊", "覆診"),
    ],
    "檯 and 台": [("张台", "張檯"), ("服务台同电视台", "服務台同電視台"), ("台湾", "台灣")],
    "餘 and 余": [
        ("多余", "多餘"),
        ("余下这一世，安度余生", "餘下這一世，安度餘生"),
        ("我姓余，余小姐讲", "我姓余，余小姐講"),
    ],
    "於 and 于": [("终于", "終於"), ("忠于自己", "忠於自己"), ("关于于先生", "關於于先生")],
    "醜 and 丑": [("怕丑，认真丑怪", "怕醜，認真醜怪"), ("子丑寅卯开门", "子丑寅卯開門")],
    "響 and 响": [("影响", "影響"), ("个铃响咗，我响门口", "個鈴響咗，我响門口")],
    "讚 and 贊": [("个个都赞", "個個都讚"), ("赞助同赞成", "贊助同贊成")],
    "曬 and 晒": [("太阳晒到热晒", "太陽曬到熱晒"), ("支防晒霜几时用晒", "支防曬霜幾時用晒")],
    "遊 and 游": [
        ("好多游客去旅游", "好多遊客去旅遊"),
        ("学游水，游过去对面", "學游水，游過去對面"),
        ("打游戏", "打遊戲"),
    ],
    "簽 and 籤": [("佢签咗约", "佢簽咗約"), ("求签同买牙签", "求籤同買牙籤")],
    "鬚 and 須": [("剃吓须必须用须刨", "剃吓鬚必須用鬚刨")],
    "製 and 制": [("自家制嘅奶制品", "自家製嘅奶製品"), ("控制个制度", "控制個制度")],
    "歷 and 曆": [("好多年历史", "好多年歷史"), ("农历新年", "農曆新年")],
    "里 in names of lanes, and 裏": [
        ("住喺屯门育青里", "住喺屯門育青里"),
        ("环球里", "環球里"),
        ("佢知真光里系喺九龙塘", "佢知真光里係喺九龍塘"),
        ("左邻右里同乡里", "左鄰右里同鄉里"),
        ("喺中环呢间铺头里面", "喺中環呢間舖頭裏面"),
        ("夜里喺荃湾村里", "夜裏喺荃灣村裏"),
    ],
    "係 and 系 after nouns": [
        ("父母系最紧要", "父母係最緊要"),
        ("国语系讲到", "國語係講到"),
        ("中文系嘅体系", "中文系嘅體系"),
    ],
    "只 before verbs, and 隻": [
        ("不是只看价钱，这只会令佢嬲", "不是只看價錢，這只會令佢嬲"),
        ("如果只得果只", "如果只得果隻"),
        ("佢想要只仓鼠", "佢想要隻倉鼠"),
    ],
    "發 after titles": [("局长发言后署长发表意见", "局長發言後署長發表意見")],
    "後 after numbers": [("三十元后，预计", "三十元後，預計"), ("影帝后生仔", "影帝後生仔")],
    "names": [("阿杰喺夏悫道遇到范国威", "阿傑喺夏慤道遇到范國威"), ("嘉咸街卖咸鱼", "嘉咸街賣鹹魚")],
    "晒 before a whole": [("输晒成副身家，晒到成身黑晒", "輸晒成副身家，曬到成身黑晒")],
    "departments, and 係 after the same words": [
        ("佢读历史系", "佢讀歷史系"),
        ("呢个系机械系同学", "呢個係機械系同學"),
        ("简直系，字体系细咗", "簡直係，字體係細咗"),
        ("关系数据库同安全系数", "關係數據庫同安全系數"),
    ],
    "於 after words of comparison": [
        ("唔等同于，这个", "唔等同於，這個"),
        ("不同于，这样", "不同於，這樣"),
        ("我问于先生，这样", "我問于先生，這樣"),
    ],
    "嚇 before its result, and the particle 吓": [
        ("呢个恫吓吓呆咗佢", "呢個恫嚇嚇呆咗佢"),
        ("你试吓走过去，这样", "你試吓走過去，這樣"),
    ],
    "僕 and 仆": [("主仆俩风尘仆仆", "主僕倆風塵僕僕"), ("个仆街仆亲", "個仆街仆親")],
    "衝 in words of motion and of technology": [("电脉冲同反冲", "電脈衝同反衝"), ("冲着我嚟，这样", "衝着我嚟，這樣")],
    "鍾 in love and in names": [
        ("情有独钟", "情有獨鍾"),
        ("主席钟志明讲", "主席鍾志明講"),
        ("钟楼嘅钟声", "鐘樓嘅鐘聲"),
    ],
    "words of written Chinese in short texts": [
        *(
            ("采取", "採取"),
            ("用于", "用於"),
            ("低于", "低於"),
            ("划分", "劃分"),
            ("呼吁", "呼籲"),
            ("此后", "此後"),
            ("防御", "防禦"),
        ),
    ],
    "words of menus and reviews": [
        ("叻沙面配汤，这样", "叻沙麵配湯，這樣"),
        ("上面铺满芝士，里面食，这样", "上面鋪滿芝士，裏面食，這樣"),
        ("要同人搭台，这样", "要同人搭檯，這樣"),
        ("条鱼有少少干，这样", "條魚有少少乾，這樣"),
        ("食半只，好大只，这样", "食半隻，好大隻，這樣"),
        ("如果只得一个人，这样", "如果只得一個人，這樣"),
        ("即叫即制嘅响铃", "即叫即製嘅響鈴"),
        ("酱汁唔够杰，这样", "醬汁唔夠杰，這樣"),
        ("瑞士卷，卷住菜，这样", "瑞士卷，捲住菜，這樣"),
        ("几出色，这样", "幾出色，這樣"),
    ],
    "係 after a noun, beside words of Mandarin": [
        ("整体系唔错，整体系统，这样", "整體係唔錯，整體系統，這樣"),
        ("媒体系可以控制，系主任，这样", "媒體係可以控制，系主任，這樣"),
        ("呢点系主因，这样", "呢點係主因，這樣"),
        ("但系带咗去，这样", "但係帶咗去，這樣"),
    ],
    "words of forums": [
        ("出嚟冲，这样", "出嚟衝，這樣"),
        ("出嚟冲个凉，这样", "出嚟沖個涼，這樣"),
        ("并发起联署，这样", "並發起聯署，這樣"),
        ("发布影片，这样", "發布影片，這樣"),
        ("回复正常，回复客人，这样", "回復正常，回覆客人，這樣"),
    ],
    "千秋 and 打鞦韆": [("千秋万载，这样", "千秋萬載，這樣"), ("打秋千，这样", "打鞦韆，這樣")],
    "short texts of characters of both scripts": [
        *(("公仔面", "公仔麵"), ("恐吓", "恐嚇"), ("外游", "外遊"), ("干炒牛河", "乾炒牛河"), ("食到未干", "食到未乾")),
        *(("白金咸宫", "白金咸宮"), ("雲南", "雲南"), ("婚后", "婚後")),
    ],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [pair for pairs in OF_TWO_TRADITIONAL_CHARACTERS.values() for pair in pairs],
)
@pytest.mark.gate_sample(3)
def test_the_context_decides_between_two_traditional_characters(text: str, expected: str) -> None:
    assert converted(text, "hk") == expected


@pytest.mark.parametrize(
    "text",
    [
        "恒生指數",
        "溫度同温度",
        "用户同戶口",
        "税務局",
        "撑住",
        "强積金",
        "况且",
        "佢著咗件衫",
        "電臺",
        "因爲咁",
        "裡面",
        "响度",
        "后街",
        "于姓",
        *("王后", "影后", "李慧琼", "老板", "里斯本", "咸豐", "姓朴", "睇吓你", "只得一隻", "面試"),
    ],
)
def test_each_spelling_in_use_in_hong_kong_is_left_alone(text: str) -> None:
    assert converted(text, "hk") == text


def test_the_script_of_each_segment_is_judged_by_itself() -> None:
    before = transcript(
        *(segment("我哋聽日開會傾呢個問題", k, k + 1) for k in range(9)), segment("今日我们讲下呢个问题", 9, 10)
    )
    assert in_script(before, "hk").segments[9].text == "今日我們講下呢個問題"
    assert in_script(before, "hk").segments[:9] == before.segments[:9]


@pytest.mark.parametrize("text", ["嗰", "𨋢", "嗰個𨋢壞咗", "咗嘢嘅喺啲冇佢哋嚟㗎噃𠺢𡃉"])
def test_simplified_text_has_only_characters_of_common_fonts(text: str) -> None:
    for before, after in zip(text, converted(text, "cn"), strict=True):
        assert after == before or after.encode("gbk")


def test_without_a_script_the_transcript_is_unchanged() -> None:
    before = transcript(segment("软件", 0, 1))
    assert in_script(before, None) is before


def test_words_get_the_characters_they_have_in_the_text() -> None:
    """Converted alone, the words 皇 and 后 would become 皇 and 後."""
    before = transcript(segment("皇后来了", 0, 2, words="皇后来了"))
    after = in_script(before, "hk").segments[0]
    assert after.text == "皇后來了"
    assert "".join(word.text for word in after.words) == "皇后來了"
    assert [(w.start, w.end) for w in after.words] == [(w.start, w.end) for w in before.segments[0].words]


def test_words_that_are_not_in_the_text_are_converted_alone() -> None:
    after = in_script(transcript(segment("软件", 0, 2, words=["软", "X", "体"])), "hk").segments[0]
    assert [word.text for word in after.words] == ["軟", "X", "體"]


@given(MIXED, st.sampled_from(SCRIPTS))
def test_digits_latin_and_length_stay(text: str, script: Script) -> None:
    after = converted(text, script)
    assert len(after) == len(text)
    assert re.findall(r"[ -~，。「」]", after) == re.findall(r"[ -~，。「」]", text)
