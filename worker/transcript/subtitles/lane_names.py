"""Finds the character 里 in names of lanes and villages of Hong Kong (真光里), in simplified text. No I/O.

Simplified text has one character for 里 (lane, mile) and 裏 (inside). A name is recognized by the district before it,
by the words around it, or because the text contains nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_DISTRICTS: Final = (
    "中环|上环|西环|西营盘|坚尼地城|石塘咀|金钟|湾仔|铜锣湾|跑马地|大坑|天后|炮台山|北角|鲗鱼涌|鰂鱼涌|太古|西湾河|筲箕湾|柴湾|小西湾|杏花邨|香港仔"
    "|鸭脷洲|黄竹坑|薄扶林|赤柱|浅水湾|半山区?|山顶|尖沙咀|尖东|佐敦|油麻地|旺角|大角咀|太子|深水埗|长沙湾|荔枝角|美孚|石硖尾|又一村|九龙[塘湾城仔]"
    "|乐富|黄大仙|钻石山|慈云山|新蒲岗|彩虹|牛头角|牛头|观塘|蓝田|油塘|土瓜湾|红磡|何文田|启德|秀茂坪|将军澳|坑口|宝琳|调景岭|西贡|清水湾|沙田|大围|火炭"
    "|马鞍山|大埔墟?|太和|粉岭|上水|元朗|天水围|屯门|洪水桥|蓝地|流浮山|锦田|八乡|荃湾|葵[涌芳兴]|青衣|深井|东涌|大屿山|长洲|坪洲|南丫岛|大澳|梅窝|林村"
    "|扫管笏|小榄|新界|九龙|港岛|沙头角|古洞|屯[门]|元州|蠔涌"
)
_INSIDE: Final = (
    "心手夜梦口眼家屋城夹怀肚脑骨血海水河湖山林田园院校班房间厅店厂楼车船机袋樽瓶盒箱柜桶窿洞坑井池缸杯碗锅镬书信文章句词诗歌戏片剧曲画相镜网群圈组队会党军"
    "社界世国乡镇村区墙门窗床被衣裤鞋帽柜簿本册报刊年月日天期季节程活忆事史话语声音言气空雾雨雪风光影暗黑底堆丛流波浪火烟灰土泥沙石木草花树叶果肉汤饭菜酒"
    "茶药命运生死病痛苦哭笑爱恨情感思想念识度处边呢嗰哪那这哩邊東城宫殿庙寺狱牢营店舖铺场市局院署库仓室内隧巷弄帐账"
)
"""Characters before 裏 in the sense of inside."""
_NOT_NAME: Final = "呢嗰这那个個间間架部张条本座喺系係在有嘅的我你佢呀啊唔冇咗紧从到去嚟"
_AFTER_NAME: Final = (
    "(?:系|係|就系)?喺|[0-9〇一二三四五六七八九十]+号|附近|嗰[度间]|对开"
    "|公园|街市|休憩|小巴站|巴士站|游乐场|山路|[东西南北]?(?=$|[，。？！、])"
)
_NAMES: Final = (
    re.compile(rf"(?:{_DISTRICTS})[嘅的]?[^\W{_NOT_NAME}]{{1,5}}?(?<![村区市城心])(里)(?![面边邊头頭](?!间))"),
    re.compile(rf"^[^\W{_NOT_NAME}]{{1,4}}(?<![{_INSIDE}])(里)(?:$|号)"),
    re.compile(
        rf"(?<=[喺住去到系過过知话話])[^\W{_NOT_NAME}]{{1,4}}(?<![{_INSIDE}])(里)(?={_AFTER_NAME})|(?:^|(?<=[知话話]))[^\W{_NOT_NAME}]{{2}}(里)(?=[系係]喺)"
    ),
    re.compile(
        r"(?:街坊街|左邻右|左隣右|邻|鄰|乡|故|一茂|死茂|茂|公|英|海|华|万|千|百|十|几|邨|山|阿|索马|亚厘毕|云南|才|明)(里)(?![面边邊头頭])"
    ),
)


def lane_names(text: str) -> Iterator[int]:
    """Yield the indices of the character 里 in names of a simplified text."""
    for pattern in _NAMES:
        for match in pattern.finditer(text):
            yield match.start(match.lastindex or 0)
