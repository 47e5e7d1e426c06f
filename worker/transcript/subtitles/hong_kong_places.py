"""Names of Hong Kong that the lexicon lacks: districts, stations, islands and hills, and a few institutions. No I/O."""

from __future__ import annotations

from typing import Final

_TEXT: Final = (
    "堅尼地城 太平紳士 日出康城 海怡半島 九龍仔 何文田 元朗墟 八仙嶺 北角邨 土瓜灣 大埔墟 大埔滘 大帽山 大東山 "
    "大窩口 大美督 大角咀 天水圍 太古城 宋皇臺 寶馬山 將軍澳 小西灣 強積金 愉景灣 慈雲山 打鼓嶺 新蒲崗 昂船洲 "
    "杏花邨 東龍島 柯士甸 橫頭磡 沙田圍 沙螺灣 油麻地 洪水橋 流浮山 深水灣 渣甸山 炮台山 烏溪沙 牛池灣 牛頭角 "
    "石硤尾 秀茂坪 筲箕灣 聯和墟 荔枝窩 荔枝角 蒲台島 薄扶林 西灣河 西營盤 調景嶺 赤鱲角 車公廟 錦上路 鑽石山 "
    "長沙灣 青山灣 青衣城 飛鵝山 香港仔 天后宮 天后廟 馬料水 馬頭圍 馬頭角 鴨脷洲 黃竹坑 龍鼓灘 佐敦 兆康 啟德 "
    "坪洲 大圍 天后 寶琳 尖東 昂坪 朗屏 東涌 樂富 欣澳 油塘 石澳 紅磡 維港 葵盛 葵興 錦田 長洲 "
)
NAMES: Final = tuple(_TEXT.split())
"""The longer names come first."""
