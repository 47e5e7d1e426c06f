"""Corrects characters that OpenCC's tables for Mandarin convert wrongly in Cantonese text. No I/O.

Some characters are written in both scripts with different meanings: 系 is 係 (is), 系 (system) or 繫 (tie). The tables
choose the character by words of Mandarin. They do not contain Cantonese words, measure words before Cantonese nouns, or
surnames. Each rule of this module is a pattern that is searched in the original text. It corrects one character of each
match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from worker.transcript.subtitles.character_contexts import CONTEXTS, UNDECIDED
from worker.transcript.subtitles.chinese_surnames import SURNAME_RULES, TITLE

_Rule = tuple[re.Pattern[str], str]
"""A pattern whose group 1 is the part that the rule replaces, and its replacement. "" restores the original."""

_NUMBER: Final = "一二两兩三四五六七八九十几幾百千万萬每嗰呢哩几多边邊半0-9〇数數双雙整単单成"
_ANIMAL_OR_THING: Final = (
    "猫|狗|手[^机機提袋续續]|手$|脚|鸟|鸡|鸭|鹅|牛|羊|猪|马|鱼|虾|蟹|兔|鼠|龟|老鼠|老虎|熊|象|眼|耳|杯|碗|碟|袜|鞋|船|艇|股票|股|基金|歌|鬼|怪|狼|蚊|乌蝇|曱甴|蚂蚁|松鼠|刺猬|海豚|鲸|鲨|蟑螂|蜘蛛|麻雀|燕|鹿|骆驼|猩猩"
    "|蝴蝶|虫|蜜蜂|手表|手指|字|公仔|雀|猴|马骝|狮|豹|鹤|乌龟|袋鼠|企鹅|恐龙|龙|蛋|光碟|碟|戒指|耳环|茶壶|煲|锅|镬|匙羹|羹|棋|牌|筷子|门|窗|翼|蹄|毛孩"
    "|唐狗|西施|金鱼|黑猫|白鸽|鹰|鸽|蛇|蛙|田鸡|乳鸽|烧鹅|生蚝|蚝|鲍鱼|大闸蟹|船仔|腿|臂|角|爪|牙|脚趾|拇指|小猫|小狗|猫仔|狗仔|雪糕|蓝筹|细价股|新股|蛊惑|手套|箱|车轮"
)
_NOT_NOUN: Final = "系係有可会會能要得剩想唔不好识識顾顧怕知见見望求需限为為是做讲講睇食去用"
_VERB_BEFORE_ALL: Final = "做食饮飲买買卖賣洗执執拎收用讲講写寫睇听聽冇冚变變换換走去嚟来來死散嗮拆玩坐畀俾搬"

_DEPARTMENTS: Final = (
    "中文|英文|历史|哲学|物理|化学|数学|生物|法律|经济|工程|新闻|电脑|医学|会计|音乐|艺术|心理|社会|社工|地理|建筑|传理|翻译|工商"
    "|资讯|外语|法语|日语|英语|中医|护理|文学|政治|商学|设计"
)
_SYSTEM: Final = "派体學学院科星阳河水母父直嫡世谱菜维联连牵转读"
_NOT_IS: Final = "".join(f"(?<!{name})" for name in _DEPARTMENTS.split("|"))
_END: Final = r"(?=$|[，。？！、 呀啊啦喇嘞嘅同定咗])"

# Characters that OpenCC changes to a form that is rare in Hong Kong, and their usual form there.
_DEFAULTS: Final[tuple[tuple[str, str], ...]] = (
    *((f"({char})", char) for char in "搜巨泛霉岩彩扣娘虱局糍伙抵弦具"),
    (r"(借)(?!口|此|故|词|以)", "借"),
    (r"(矿)", "礦"),
    (r"(克)(?=制|服)", "克"),
    (r"(蒙)(?=蔽|骗)", "蒙"),
    (r"(历)(?=史|任|来|届|代|练|程|经)", "歷"),
    (r"锻(炼)", "煉"),
    (r"(拐)(?=子|带|骗|卖|弯)", "拐"),
    (r"一(出)(?!戏|剧|电影|片|喜剧|话剧|闹剧|好戏)", "出"),
    (r"[趣标别细雅精](致)", "緻"),
    # 响: Cantonese for at, and 響 in words of sound.
    (r"(响)", "响"),
    (
        r"[影音回反交打最好好巨作嘈电声](响)(?![度])|(响)(?=应|亮|声|铃|咗|起|闹|警|安|朵|号|铃|喇|晒|足|个不停)"
        r"|话(响)$",
        "響",
    ),
    (r"(毁)", "毀"),
    (r"(参)", "參"),
    (r"(链)", "鏈"),
    (r"(?<!茶)(几)(?!案)", "幾"),
    (r"(?<!参)(赞)(?![助成同善比])(?!美尼)", "讚"),
    (r"(挨)(?![近住晚年户个家门身势凭憑挨])(?<!挨挨)(?<!挨身挨)", "捱"),
    (r"(涌)(?![出入现上到来埋去泉向进紧晒涌过])(?<![汹泪血潮奔喷风如]涌)", "涌"),
    (r"(了)(?=解)", "了"),
    (r"(荡)(?=漾)|[游飘摇动闯扫浩坦放浪](荡)", "蕩"),
    (r"[合同](伙)|[一那嗰呢这](伙)(?=人|贼|匪|劫|友)", "夥"),
    (r"[剪结](彩)", "綵"),
)
_SIDES: Final = "前上下后後里裡裏出外入对方表见地侧封黑一"
"""Characters before 面 in the sense of side or face."""
_FOOD: Final = "蛋渣筋粉幼汤丝腩丸虾鱼葱鸡鸭鹅猪排肉炸酱拉伊生蒸麦冷凉油手燥伴仔"
# Words of Cantonese whose characters depend on their neighbours.
_WORDS: Final[tuple[tuple[str, str], ...]] = (
    # 钟: 鐘 (bell, clock), and 鍾 in 鍾意 and in names.
    (r"(钟)", "鐘"),
    (r"(钟)(?=[意情爱馗灵]|唔钟|楚)|龙(钟)|姓(钟)|阿(钟)|(钟)(?=楚红|嘉欣|镇涛|欣潼|汉良|无艳|士元|逸杰|树根)", "鍾"),
    (rf"(?<![分秒点闹时大敲个两三四五六七八九十半几粒句夠够撳摁])(钟)(?={TITLE})", "鍾"),
    # 只: a measure word between a verb or pronoun and a noun.
    (
        r"[大细](只)(?=佬|$|[，。？！、 ]|[啊呀嘅㗎好冇])|(只)(?=揪|车|袖|杯|药|鸭|船|麻雀|猪|帽|产品|葵扇|平底"
        r"|病毒|蚁|花樽|樽|柜"
        r"|香水|面霜|错手|骑呢|嘢|咸猪手|白鲊|左[手脚]|右[手脚]|红中|七万|色|[Cc][Dd]|DVD|[Mm]ouse|曲架|兔仔|靓"
        r"|狐狸|青蛙|曱甴)"
        r"|揪(只)|[蚊毫](只)(?![系有会要限准得])|[我你佢个哥哋](只)(?=表|耳环|仓鼠|猫|狗|帽|手|脚|饿猫|股)"
        r"|(只)(?=能只)|能(只)$",
        "隻",
    ),
    (
        r"咗(只)(?![有系係会能得剩是要可])|(只)(只)|[影冇无](只)(?=$|[，。啊呀])|(只)抽"
        r"|[你佢我](只)(?=[大为衰新乸死头标])"
        r"|(?:^|[^一-鿿]|[似买同])(只)(?=[衰新野大]|蕉|鲨|玩具|蜘蛛|蟬|蝉|檐蛇|game|app|波士|味|茶包|油鸡|绵羊|玉"
        r"|钻石|橙|病|乸|化骨)"
        r"|[你佢我](只)(?=味|游戏|减肥|股|雷射|牙|股票|手袋)",
        "隻",
    ),
    (r"[狗猫牛羊猪船机马雀](只)(?![有系会是要能可食剩好限])|[边哪](只)|(只)(?=表(?![示达现]))", "隻"),
    # 干: 乾 (dry).
    (
        r"[整晾晒撚扯燂揈㷫琼揸生抹吹扭擦揩烘风煲榨吸沥输扫冲](干)(?!扰)|(干)(?=唔干|[咗啃蒸烧依瘪枯涸扁埋]|咗|炒"
        r"|净|爽|姜|葱|鲍)"
        r"|[好太又唔未仲更先几都](干)(?=$|[，。？！、 呀啊喇啦㗎净])|[果萝蕉肠菇](干)(?=$|[，。？！、 同])",
        "乾",
    ),
    (r"唔(干)(?=净)", "乾"),
    # 后: 后 only in titles and names.
    (r"(?<![皇太王天影歌视艳帝母蜂蚁妈武吕])(后)(?![座羿宫冠妃土稷街]|海湾)", "後"),
    (r"(?<![皇太王天影歌视])(后)(?=街|便|生仔|生女|面|尾|日|来|嚟|悔|備|备)", "後"),
    (r"(?:天|皇|太|王|影|歌|视|艳)(后)(?=$|[，。？！、 娘宫庙级嘅])", "后"),
    (r"啲(面)(?=[唔咁就要几炒腍])", "麵"),
    (r"(?:有啲|裤头?|鞋带|搞完|食完)(松)(?=$|[，。咗得])", "鬆"),
    (r"求(?:返|番)?支.{0,3}?(签)|抽(?:生死|[^一-鿿])(签)", "籤"),
    # 松: 鬆 (loose; a little more than; to leave).
    (r"[十百千万几](松)|[头肉好会单皮](松)" + _END + r"|(松)(?=脆|软|啲|懈|弛|啦|人|骨|毛|泡)", "鬆"),
    # 冲: 衝 (rush) in more words.
    (r"(冲)(?=劲|冠|先|咗[入出去过]|唔破|开|关|散|天|浪|埋|出|入)|其(冲)|直(冲)|缓(冲)|俯(冲)", "衝"),
    # 准: 準 (exact), and 准 (permit).
    (r"[好咁够太最几瞄水标精唔对](准)|(准)(?=新郎|新娘|港姐|妈妈|爸爸|时|备|确|绳|则|头|星|成|决赛|点|医生)", "準"),
    (r"[唔不批获核恩特](准)(?!$|[，。？！、 呀啊㗎喇啦确时备嘅])", "准"),
    # 喂: the interjection is a clause of its own, or begins one; 餵 (feed).
    (r"(喂)", "餵"),
    (r"(?:^|[^一-鿿])(喂)(?![食奶人饭狗猫鱼饱养药水母饲咗到完])|(喂)(?=$|[^一-鿿A-Za-z]|喂)|喂(喂)", "喂"),
    # 吓: 嚇 (frighten) after a subject or an adverb and before its object or result; else a particle.
    (r"(吓)", "吓"),
    (
        r"(?:^|[^一-鿿]|[我你佢会好想咪系鬼脸嚟恐惊惶唔都被俾畀就个直])(吓)(?=[到死亲坏怕窒走鬼得人我你佢咗左细一])"
        r"|[恐惊惶](吓)|(吓)(?=到|死|亲|走|坏)",
        "嚇",
    ),
    (r"(?<![睇问听帮试讲求教揾搵探见])(吓)(?=人(?![哋地家讲])|[咗了]?[我佢你]一跳|得我|死人)", "嚇"),
    (r"(喂)(?=BB|[Bb]b|哺|人奶|[你佢我]食)|(?:返去|揸奶)(喂)", "餵"),
    (r"(?:日本|德国|美国|英国|法国|中国|台湾|本地|香港|泰国|韩国)(制)(?=$|造|品|巴士|电器|车|[嘅，。])", "製"),
    (r"编(制)(?=[的及《一]|人口|预算|推算|报告|统计|指数|指引)", "製"),
    (r"[发读咬]音?[字]?唔(准)", "準"),
    # 斗: 鬥 (fight), 斗 (measure, vessel).
    (r"(斗)(?=地主|志|木|鸡|恶|赢|输|心|法|力|快|争|多)|[械缠恶内](斗)", "鬥"),
    (r"(斗)(?=令|零|篷|室|车|柜|胆)|[烫熨漏风筋吊关烟墨北](斗)", "斗"),
    # 表: 錶 (watch, meter).
    (
        r"(?:石英|情侣|劳力士|电子|机械|陀|咪|手|戴|跳字|迫力风|隻|[只块]新?|泊车|古董|跳|入|除"
        r"|校好?)(表)(?![示现达面演情格])|(表)(?=带|行$|位)",
        "錶",
    ),
    # 台: 檯 (table).
    (r"(台)(?=角|底|布|灯|凳|波|脚|椅)|[张围](?:长|圆|饭|书|细|大|麻雀)?(台)(?!湾)", "檯"),
    (r"(?:秘书|服务|转|电视|电|舞|平|港|询问|讲|柜)(台)", "台"),
    # 折: 摺 (fold).
    (r"(?<![一二三四五六七八九半几0-9])(折)(?=起)", "摺"),
    (
        r"(折)(?=飞机|元宝|纸|叠|衫|被|好|埋|床|凳|椅|台|枱|扇|痕|裙|成)|存(折)|[好咁](折)(?=$|[，。！啦㗎喇])"
        r"|[未整](折)(?=过|咗|$|[，。])",
        "摺",
    ),
    (r"(折)(?=子戏)", "折"),
    # 面: 麵 (noodles, flour).
    (
        rf"[{_FOOD}](面)(?=$|[，。？！、 同咗嘅一要两三])|(?<![{_SIDES}])(面)(?=类|团|线|筋|豉|粉|包)|(?:碱水|粗幼"
        rf"|腿蛋|拌|泡|丸)(面)",
        "麵",
    ),
    (r"[黑口反变冇爱青红封](面)(?!包)|(面)(?=杀)", "面"),
    # 姜: 薑 (ginger).
    (
        r"(?:子|黄|生|老|够|咁|葱|蒜|片|沙|嫩|洋|芥|加|磨|地|啲|嚿)(姜)(?![子太生小先])|(姜)(?=葱|汁|茶|片|丝|醋"
        r"|蓉|糖|汤|饼|味|黄|米|烧|撞奶|肉"
        r"|母|粉|块|啤|爆|麻|同肉|同葱)",
        "薑",
    ),
    # 丑: 醜 (ugly).
    (r"(丑)(?=八怪|化|恶|咗|死)|[怕知家献](丑)|好(丑)|出(丑)(?!时)", "醜"),
    (r"子(丑)", "丑"),
    # 扑: 扑 (hit) in Cantonese, 撲 (throw oneself) in other words.
    (r"(扑)", "扑"),
    (r"(扑)(?=[埋灭救料火翼水入过面鼻向上空朔倒克通杀])|[相猛反飞直频](扑)|频扑(扑)", "撲"),
    (r"[植曲](发)|[飞剪染](?:完|咗|好|个|过)(发)|电(?:得|咗|完)(发)", "髮"),
    (r"(准)(?=唔准|我|你|佢|的士)", "准"),
    (r"家(私)(?![人家塾宅己])", "俬"),
    (r"(家)私(?![人家塾宅己])|弊(家)伙|(家)(?=伙)", "傢"),
    (r"(汇)(?=报)", "匯"),
    (r"[词语字](汇)", "彙"),
    (r"(里)(?=数|程)|[公英海华](里)(?!面|边)", "里"),
    (r"[打荡盪玩](千)秋|秋(千)", "韆"),
    (r"[打荡盪玩]千(秋)|(秋)千", "鞦"),
    (r"(卷)(?=起|入|埋|走)", "捲"),
    (r"(蒙)(?=查查|胧|眼|光|猪眼|蒙光)|[天眼](蒙)(蒙)?", "矇"),
    (r"(复)(?=合)(?!合[材物肥弓型词式体板句元维])", "復"),
    (r"(复)(?=杂|印|制品|述|数|利|式|方|眼|姓)", "複"),
    (r"回(复)(?=平静|水准|原|正常|本来|状态|体力|青春|冷静|自由|元气|到)", "復"),
    (r"(?:^|[，。！？、 ])(出)(?=戏)", "齣"),
    (r"(谷)(?=饲|物|类|种|仓)|[五稻米杂爆粒](谷)", "穀"),
    (r"[鼻桥横栋](梁)", "樑"),
    (r"(杰)(?=挞挞|撻撻|[嘢啲嘅过]|个汁)|[好咁件](杰)", "杰"),
    (r"[呢嗰哩一两三几每套部](出)(?=戏|剧|喜剧|话剧|舞台剧|歌剧|闹剧|电影|西片)", "齣"),
    (r"(借)(?=口|此|故)|[凭慰](借)", "藉"),
    (r"单(只)(?![眼手])", "只"),
    # 晒: 曬 (in the sun, show off) in more words; 游: 遊 (travel, play) and 游 (swim); 签: 簽 (sign) and 籤 (slip).
    (r"(?:太阳|[大防])(晒)|(晒)(?=冷(?!震)|\dR|字头|红|成|咸鱼)", "曬"),
    (r"(游)", "遊"),
    (
        r"(游)(?=水|泳|击|来|嚟|冬泳|蛙|开|过[去嚟三两]|出[去嚟]|入[去嚟]|离|池|涌|得|到|咗|吓|紧|游|说)|[上下中游](游)(?![戏客玩行览])",
        "游",
    ),
    (r"(签)", "簽"),
    (r"[牙竹书标抽求解支中上下](签)(?![名约咗字证])|(签)(?=文|王|诗)", "籤"),
    (r"(须)(?=刨|根|后水|膏)|[胡留剃烧撇猫电触](须)|[留刮刨](?:吓|咗|啲)(须)|剃(?:吓|咗|啲)(须)", "鬚"),
    (r"(制)(?=品|造|成|作|片|衣|药|图|冰)|[仿奶精特监录绘炼研缝皮铁木胶瓷银港本家](制)(?=$|[品嘅，。])", "製"),
    (r"(晒)(?=成[个间支副身张季餐场家屋村])", "晒"),
    (r"[除爆输清扫揾搵匀浸试追煮食](晒)(?=衫|棚)", "晒"),
    # 系: 係 (is) after a noun that also begins a name with 系, before a word that no name continues with.
    (r"(系)(?=[唔咪乜咩边嗰呢从晒]|好似|比较|可能|平时|人生|所有|旧年|无色|太多|倾)", "係"),
    (r"(?:觉得|简直|话|以为|知道|即|只)(系)", "係"),
    (r"[语族星科](系)(?=$|[，。？！、嘅])", "系"),
    (
        r"(?:历史|社会|父母|学生|同学|伯父|老母|字体|韵母|古父|一直|词语|中医|愈|公司|紧|直)(系)(?![统列所内谱数念]|主任|嘅学|亲)",
        "係",
    ),
    (
        r"[院河水母星菜职统中](系)(?![统列所主内会办同任之谱数嘅的学]|$|[，。？！、 ])"
        r"|[学科派体](系)(?=[唔不我你佢冇非]|数学|主要|嘅一)",
        "係",
    ),
    (r"(系)(?=好|受|睇|因为|紧|一样|噉|咁)", "係"),
    # 只: only, before verbs; 隻 after these pronouns and before these things.
    (
        r"(?<![呢嗰這这哪邊边一两二三四五六七八九十几每只第果依])(只)(?=[是能会可要限影抽做看增]|有(?!$))|最多(只)|(?:如果|结果|如今|码头|[这那](?=只会))(只)|[唔不]是(只)|唔(只)(?=系|$|[一-鿿]同)",
        "只",
    ),
    (
        r"(?:原|[唔想]要|小心|睇[下吓]|出面|做到|买|[揾搵捉咬变])(只)(?![系有会要限准得是能可想唔不])|(?:(?<![如结結若效水苹])果|依|(?<!如)今|第)(只)(?![系有会要限准得])|(只)(?=[饿餓]|风筝|鹦鹉|维尼|死猫|跛|仓鼠|[Gg][Aa][Mm][Ee]|标靶|新药|野马|烤|小人手|小人脚|舰|怪物|角色|清甜"
        r"|恐龙|医疗口罩|口罩|款式|主题|狼|猎|老[鼠虎猫狗]|细[佬路]?[猫狗]|流浪|公仔|雪|月饼|粽|飞机|单车|电话|[0-9]+岁)",
        "隻",
    ),
)

_SIMPLIFIED: Final[tuple[tuple[str, str], ...]] = (
    # 系: 係 (is), but not in the words of 系 (system, department) and of 繫 (tie).
    (rf"(?<![{_SYSTEM}]){_NOT_IS}(系)(?![统列主数谱所带鞋领囚念])", "係"),
    (r"(?:唔|都|即|但|仲|真|就|梗|又|亦|也|净|只|定|咪|确|实|佢|哋|原来|应该|可能|一定|如果|因为)(系)(?!统|列)", "係"),
    (r"关(系)", "係"),
    (r"(系)(?=鞋带|领带|安全带|念)|[联维](系)", "繫"),
    # 只: a measure word after a number or a demonstrative, and before things that are counted so.
    (rf"[{_NUMBER}](只)(?![{_NOT_NOUN}])", "隻"),
    (r"[呢嗰哩](只)(?=[系唔])", "隻"),
    (rf"(只)(?={_ANIMAL_OR_THING})", "隻"),
    # 晒: a Cantonese particle (all), or 曬 (in the sun).
    (r"(晒)", "晒"),
    (rf"(?<![{_VERB_BEFORE_ALL}])(晒)(?=太阳|日光|月光|黑|伤|相|被|衫|干|谷|命|恩爱|棚|到|死|亲|得)", "曬"),
    (r"(?:日光|西|暴|晾|防)(晒)", "曬"),
    # 郁: Cantonese for to move, and a surname; 鬱 in words of gloom and of plants.
    (r"(?<![忧抑沉阴葱苍躁积苦悒幽郁])(郁)(?![闷结郁金积热悒卒葱])", "郁"),
    # 复: 覆 (answer, again), as in Hong Kong.
    (r"[回答批反颠函电](复)(?![杂印制古活原])|(复)(?=诊|核|检|查|信|示|电|函|盖|没|审|述机)", "覆"),
    # 发: 髮 (hair).
    (
        r"[飞剪恤](发)|[洗染烫植护金卷秃吹梳白](发)(?=$|[，。？！、 ]|[型廊尾色质夹胶泥乳膜屋店师蜡咗完先啊呀嘅未])",
        "髮",
    ),
    (r"[头理毛假秀](发)(?![现生展出表明起觉达烧放送布行挥言财音动])|(发)(?=型|廊|尾|夹|胶|泥|蜡|际|丝|髻|簪)", "髮"),
    # Forms of Hong Kong.
    (r"(尽)(?=快|量|早|管)", "盡"),
    (r"(厘)(?=米|头|清)|[毫分公](厘)", "厘"),
    (r"(周)(?=刊|末|年|岁|围|身|转|全|日|会|薪|[一二三四五六])|[一二两三四五六七八九十上下今每本](周)", "周"),
    (r"[公宣发颁](布)", "布"),
    (r"(汇)(?=丰)", "滙"),
    (r"(汇)(?!丰|编|总|集)", "匯"),
    (r"老(板)", "闆"),
    (r"(铺)(?=头|位|租|仔|王|面)|[商店金鱼饼当药地旺间开收执睇租街](铺)", "舖"),
    (r"(哗)", "嘩"),
    (r"(个)", "個"),
    (r"(回)(?=归)", "回"),
    (r"(合)(?=眼|家)", "合"),
    # 吓, 喂, 仆: Cantonese words; 嚇 (frighten), 餵 (feed) and 僕 (servant) in others.
    (r"(?<![惊恐恫])(吓)(?![到死亲人坏怕窒走鬼餐])", "吓"),
    (r"(喂)(?![食奶人饭狗猫鱼佢饱养雀鸡药水母])", "喂"),
    (r"(喂)(?=食|奶|人奶|饭|狗|猫|鱼|饱|养|雀|药)", "餵"),
    (r"(?<![公奴女男忠])(仆)(?![人役从])", "仆"),
    # 冲: 沖 (rinse, brew, process film), or 衝 (rush).
    (r"(冲)(?![突动锋击过入出上去红刺破撞落线口喜埋前到晒向闸])(?<!要冲)(?<!俯冲)(?<!横冲)", "沖"),
    # Cantonese words that OpenCC's tables do not contain.
    (
        rf"(?<![{_SIDES}])(面)(?=包|粉|食|饼|店|档|底|汤|豉|筋)|(?:云吞|车仔|公仔|即食|食|捞|炒|虾子|牛腩|鱼蛋|拉"
        rf"|伊|乌冬|汤|煮|碗|意|担担|阳春|油)(面)" + _END,
        "麵",
    ),
    (r"[咁好太唔够又](丑)(?![时年])|(丑)(?=样|怪|闻|态|陋|八怪|小鸭)", "醜"),
    (r"(松)(?=[咗啲动开绑弛懈散糕])|[放轻宽蓬](松)|(松)(?=肉)", "鬆"),
    (r"(干)(?=净|湿|杯|燥|脆|粮|旱|货|炒|洗|煎|贝)|[饼抹吹肉薯芒萝腐烘揩晾晒擦](干)" + _END, "乾"),
    (r"(钟)(?=意|情|爱)", "鍾"),
    (r"[分秒点闹时大敲个两三四五六七八九十半几](钟)(?![意情爱先小太生])", "鐘"),
    (r"(扎)(?=铁|针|实|马|根|辫)", "紮"),
    (r"(斗)(?=快|争|气|嘴|叻|士|牛|智|贵|平|靓)|[打决奋战争格搏械](斗)", "鬥"),
    (r"[呢嗰一两三几每套](出)(?=戏|剧|电影|片)", "齣"),
    (r"[好太啲](咸)" + _END + r"|(咸)(?=鱼|蛋|肉|菜|味|水|湿|猪|酸)", "鹹"),
    (r"^(游)(?=水|泳|击|来|嚟|$|[，。？！啊])|[去识唔边度](游)(?=水|泳|$|[，。？！啊])", "游"),
    (r"(云)(?=吞)", "雲"),
    (r"(艳)", "艷"),
    (r"(朱)(?=古力)", "朱"),
    *_DEFAULTS,
    *_WORDS,
)
# Corrections in traditional text: only mistakes that are right in no traditional text.
_TRADITIONAL: Final[tuple[tuple[str, str], ...]] = (
    (
        r"(?:唔|都|即|但|仲|梗|咪|淨|净|就|我|你|佢|哋|嗰個|呢個|邊個|真)(系)(?!統|列|主任|數|所|內|上|會|學|出|鞋"
        r"|领|領|带|帶)",
        "係",
    ),
    (r"(?:^|[，。？！、 ])(系)(?=咪|唔系|啊|呀|咁|喇|啦|囉|嘅)", "係"),
    (r"[關关](系)", "係"),
    (rf"[一二两兩三四五六七八九十幾几呢嗰每](只)(?={_ANIMAL_OR_THING}|[鳥雞鴨鵝豬馬魚蝦龜襪蟲])", "隻"),
    (r"手(表)(?!示|現|现|達|面|演|態|决|決|揚)", "錶"),
    (r"[戴買修換](表)(?=$|[，。？！、 ])", "錶"),
)


def correct_simplified(original: str, converted: str) -> str:
    """Return the converted text with corrected characters. `original`: the simplified text, of the same length."""
    return _corrected(original, converted, _rules_simplified())


def correct_traditional(original: str, converted: str, *, undecided: bool) -> str:
    """Return the converted text with corrected characters. `original`: the traditional text, of the same length.

    `undecided`: whether nothing in the text shows its script. If so, the text may be simplified, and 系 and 只 are
    changed to 係 and 隻 if their context requires it."""
    rules = (*_rules_undecided(), *_rules_traditional()) if undecided else _rules_traditional()
    return _corrected(original, converted, rules)


def _corrected(original: str, converted: str, rules: Iterable[_Rule]) -> str:
    chars = list(converted)
    spelled = original.replace("\U00020bb6", "嗰")  # the simplified form of 嗰
    for pattern, right in rules:
        for match in pattern.finditer(spelled):
            for group in range(1, pattern.groups + 1):
                begin, end = match.span(group)
                if begin >= 0:
                    chars[begin:end] = list(right or original[begin:end])
    return "".join(chars)


def _compiled(rules: Iterable[tuple[str, str]]) -> tuple[_Rule, ...]:
    return tuple((re.compile(pattern), right) for pattern, right in rules)


# The rules are compiled when they are first used. Compiling them takes 50 ms, and each worker imports this module.
@cache
def _rules_simplified() -> tuple[_Rule, ...]:
    return _compiled((*_SIMPLIFIED, *CONTEXTS, *SURNAME_RULES))


@cache
def _rules_traditional() -> tuple[_Rule, ...]:
    return _compiled(_TRADITIONAL)


@cache
def _rules_undecided() -> tuple[_Rule, ...]:
    return _compiled((*(rule for rule in (*_SIMPLIFIED, *CONTEXTS) if rule[1] in ("係", "隻")), *UNDECIDED))
