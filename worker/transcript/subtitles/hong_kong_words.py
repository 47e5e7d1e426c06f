"""Words of Hong Kong whose characters OpenCC's tables for Mandarin choose wrongly. No I/O.

Each word is written as in Hong Kong. Its simplified form is searched in simplified text, and the match gets the
characters of the word. If words overlap, the longer one applies, and of equally long ones the last one. The rules of
`cantonese_characters` decide characters whose choice depends on more than a word.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from worker.transcript.script_characters import table

_WORDS: Final = (
    "幼麵 粉麵 粥麵 麵房 麵類 麵飯 麵質 麵檔 麵舖 麵團 麵線 麵豉 麵漲 麵底 麵包店 餐蛋麵 油渣麵 "
    "牛肚麵 豬扒麵 雞扒麵 魚蛋麵 魚片麵 沙嗲麵 雪菜麵 丁麵 澄麵 天使麵 水餃麵 蝦子麵 鴛鴦麵 撈丁麵 "
    "淥麵 豬手麵 河粉麵 麵糊 麵漿 麵餅 意粉麵 乾麵 掟死狗麵包 公仔麵 拉麵 即食麵 麵粉 麵包 炒麵 "
    "伊麵 煮個麵 煮碗麵 食個麵 整個麵 半肉麵 梘水麵 鹼水麵 魚旦麵 食碗面 油頭粉面 別開生面 厚面皮 "
    "面包括 面包含 面對 表面 入面包 下面條片 塊面 老細面前 洗面粉 白面少爺 阻嚇 嚇唬 嚇倒 嚇暈 "
    "嚇醒 嚇窒 嚇餐 嚇破膽 嚇一跳 好嚇人 嚇人一跳 嚇得我 嚇死人 恐嚇信 嚇鬼 恐嚇 驚嚇 嚇大 嚇春 "
    "餵哺 餵牛 餵蚊 餵雀 母乳餵 魷魚鬚 鬚後 蔗鬚 鬚瘡 捋鬚 鬆化 鬆身 鬆章 鬆吓 好鬆 鬆脆 鬥獸 "
    "鬥雪 鬥狠 鬥魚 鬥番 鬥返 鬥過 鬥快 鹹豐年 嘉咸 韋定咸 維咸 亞咸 漆咸 文咸 咸美頓 葛咸 碧咸 "
    "根咸 占咸 伯明咸 諾定咸 白金咸 咸豐 咸陽 咸宜 黑糖薑 酸薑 南薑 忟薑 薑汁 薑茶 生薑 薑片 "
    "摺櫈 摺機 摺咗 摺公仔 摺頁 摺檯 摺啲 摺張 摺傘 摺合 摺邊 摺好 搾乾 飲乾 唔乾 外乾內乾 乾物 "
    "乾透 乾塘 乾身 乾衣 乾裂 乾冰 乾電 乾眼 乾嘔 乾笑 乾等 乾爹 乾媽 杏脯乾 陳皮乾 皮膚乾 "
    "天氣乾 游乾水 沖乾淨 乾秀里 榨乾 吹唔乾 開始乾 乾爭爭 煲乾 曬乾 晾乾 苦瓜乾 公幹 幹活 幹事 "
    "幹部 幹線 幹道 幹掉 幹勁 幹練 幹探 幹啥 幹嘛 樹幹 骨幹 主幹 軀幹 才幹 能幹 精幹 實幹 苦幹 "
    "埋頭苦幹 幹細胞 事幹 干犯 干德道 干諾道 干預 干擾 干涉 干戈 若干 相干 干政 干休 干邑 干貝素 "
    "欄干 自家製 自製 烤製 編製人口 編製指數 編製預算 編製統計 編製報告 製作 製造 製品 炮製 "
    "黎克特制 供制服 制裁 制得過 郊遊 外遊 重遊 手遊 遊說 毒遊 同遊 出遊 暢遊 旅遊 夢遊 巡遊 "
    "周遊 漫遊 導遊 頁遊 網遊 電遊 環遊 遊子 遊埠 遊山玩水 一日遊 游背泳 游自由式 游蝶式 游捷泳 "
    "使游 識游 游絲 游移 游標 魚游 游魚 游刃有餘 衝力 衝燈 衝頭 狗衝 就衝 會衝 敢衝 向前衝 "
    "日字衝拳 衝拳 衝組 硬衝 帶頭衝 衝動 衝擊 衝完線 沖曬 沖涼 沖茶 沖奶 沖水 沖洗 沖走 沖咖啡 "
    "沖淡 沖調 沖印 沖廁 沖身 沖掉 沖咗杯 准許 准考證 准入 准予 獲准 準許標 準則 準新郎 準新娘 "
    "咬字準 發言 發展 發放 發出 發表 發現 發生 發起 發揮 發達 發財 發燒 發火 發哥 發瘋 發夢 "
    "發音 發覺 發售 發掘 發射 發送 發行 發揚 發動 發明 發炎 發脾氣 發聲 發電 發薪 發落 發作 "
    "發還 發問 發難 發貨 發票 長發邨 並發放 並發展 並發出 並發揚 並發揮 捲髮 髮線 髮片 髮色 髮質 "
    "髮飾 扯髮 熨髮 怒髮 長髮型 電髮型 千鈞一髮 植髮 染髮 錶店 錶行 錶殼 石英錶 跳錶 名表決 表演 "
    "表證 表列 表決 位於 見於 一於 系數 堅尼系 職系 語文系 緊係 傳統係 聯繫 連繫 維繫 天后站 "
    "媽后 焰后 恆指後 後生 後半 行後 婚後 開檯 飯檯 圓檯 麻雀檯 檯櫈 鍾山台 蒲台 講台 月台 平台 "
    "天台 站台 有採 並火速 並火燒 並到安全 並兼 並將 捨難取易 捨易取難 斷捨離 唔捨 鍾國斌 鍾庭耀 "
    "鍾屋 鍾逸傑 鍾麗緹 鍾無艷 傑出 俊傑 豪傑 人傑 阿傑 文傑 志傑 偉傑 家傑 英傑 傑志 傑作 杰寧 "
    "子雲 雲南里 雲梯 嚿雲 雲浮 行雲流水 紛云 贊助 贊成 贊同 贊育 贊善 朴贊郁 矇鬼查查 矇起 咁矇 "
    "啲矇 蒙在鼓裏 餘生 無穀 有穀 爆谷 複合增長 暗湧 人頭湧湧 湧浪 泉湧 蜂湧 捲住 捲尺 捲筒 捲煙 "
    "捲土重來 龍捲風 春卷 銀絲卷 驚慄 朴智 朴初 朴姓 朴先生 朴寶劍 朴敘俊 防曬 曬冷 曬4R 太陽曬 "
    "標晒冷汗 大晒 黃霑 沈香 出征 王征 徵收 徵求 徵文 徵稿 徵詢 徵兵 徵集 悼誌 牙籤 竹籤 求籤 "
    "書籤 抽籤 籤筒 籤文 肝鬱 解鬱 抑鬱 憂鬱 鬱悶 郁郁貢 手指公郁 槓桿 桿菌 棱角 蘇錦樑 上樑不正 "
    "下樑歪 鼻樑 哄笑 一哄而上 一哄而散 起哄 哄小孩 迴避 迴響 迴轉 迴旋 百轉千迴 回帶 回流 夥拍 "
    "夥同 一夥 大夥 團夥 匯集 匯豐 丰滙 范國威 范寧 范巴士 范加爾 范佩西 范志毅 街里 鄰里 鄉里 "
    "左鄰右里 亞厘畢里 闆娘 合併 紅當當 巉巖 巖巖巉巉 綵排 休戚 拐杖 辟腥 辟味 大相徑庭 徑庭 撲到 "
    "撲去 撲飛 頻頻撲撲 貴價 糊口 白臘灣 胡同 胡椒 胡鬧 脫韁 斗米 福蔭道 掛曆 夏慤道 麼地道 "
    "咪咪麼麼 好好醜醜 分分鐘 個鐘 十劃未有一撇 十劃都未有一撇 僕人 圍威喂 有排捱 捱落去 醜八怪 醜死 "
    "大笨象 "
    "衝着 衝程 衝量 衝壓 猛衝 脈衝 對沖 反衝 左衝右突 折衝 情有獨鍾 鍾南山 鍾子期 老態龍鍾 鍾愛 鍾情 "
    "鍾馗 主僕 僕婦 僕僕 侍僕 家僕 忠僕 老僕 童僕 僮僕 臣僕 僕役 僕從 奴僕 女僕 男僕 公僕 僕歐 "
    "關係數據 關係型 安全系數 調制解調 長征 五千里長征 游離 游來游去 游擊 滑稽 "
    " 鞦韆 盪鞦韆 打鞦韆 恫嚇 威嚇 嚇呆 嚇昏 嚇傻 嚇怕 門面房 舖面 店面 門面 "
    " 頁面 畫面 路面 地面 海面 水面 湖面 桌面 版面 書面 方面 封面 場面 局面 會面 全面 "
    "片面 層面 球面 側面 反面 負面 正面 鬱血 鬱結 濃鬱 馥郁 濃郁 鬱卒 陰鬱 沉鬱 蒼鬱 蔥鬱 茂鬱 鬱江 "
    "麵宵夜 杯麵 擔仔麵 食貓麵 排骨麵 牛筋麵 煮麵 麵館 麵杖 擀麵 掛麵 "
    "麻醬麵 方便麵 刀削麵 龍鬚麵 長壽麵 齋麵 士干 枝幹 幹渠 幹流 正斗 瓜斗 泥斗 車斗 "
    "錶鏈 錶冠 腕錶 懷錶 鐘錶 髮卡機 古人云 人云亦云 不知所云 云云 云爾 山裏 "
    "房裏 院裏 店裏 肚裏 暗地裏 表裏 就裏 明裏暗裏 傻裏傻氣 怪裏怪氣 妖裏妖氣 "
    "慌裏慌張 糊裏糊塗 心裏 手裏 夜裏 夢裏 採用 採取 採納 採訪 採購 採集 採光 採摘 開採 採礦 用於 "
    "低於 高於 基於 善於 敢於 便於 利於 大於 小於 等於 不同於 等同於 限於 急於 介於 富於 源於 始於 "
    "置於 居於 忙於 勇於 陷於 處於 在於 由於 關於 對於 屬於 至於 終於 過於 於是 鑑於 劃分 劃定 規劃 "
    "策劃 計劃 製成 研製 精製 烹製 此後 其後 往後 最後 解放後 防禦 抵禦 呼籲 放鬆 搏鬥 穀物 稻穀 "
    "五穀 豐厚 豐盛 豐富 誇大 誇張 徵稅 乾旱 捨得 取捨 捨棄 淀粉 沉澱 澱粉 鬍子 鬍鬚 日誌 雜誌 嚮往 "
    "樸素 樸實 精緻 別緻 細緻 遊街 遊人 遊牧 癒合 痊癒 佳餚 菜餚 餘年 十餘 餘額 剩餘 多餘 其餘 業餘 "
    "情侶錶 淒涼 複習 複製 覆蓋 修復 恢復 康復 收復 光復 復古 復活 復興 復原 復工 復課 恢復正常 "
    "答覆 上面鋪 下面鋪 面鋪滿 入面食 裏面食 出面食 外面食 下面食 上面食 發卡機構 發布影片 發癲 "
)


def correct_words(original: str, converted: str) -> str:
    """Return the converted text with the characters of the words. `original`: the simplified text, of the same
    length."""
    pattern, forms = _forms()
    chars = list(converted)
    for match in sorted(pattern.finditer(original), key=lambda match: (len(match[1]), match.start())):
        chars[match.start(1) : match.end(1)] = forms[match[1]]
    return "".join(chars)


@cache
def _forms() -> tuple[re.Pattern[str], dict[str, str]]:
    """Return a pattern of the simplified forms, which finds overlapping words too, and the word of each form."""
    simplifier = table("t2s")
    forms = {simplifier.convert(word): word for word in _WORDS.split()}
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile(f"(?=({'|'.join(longest_first)}))"), forms
