"""Lists common words of two or more characters in spoken Cantonese and Mandarin, in both Chinese scripts.

This is not a dictionary: it only has words that are so common that readers notice a line break inside them. The
boundaries of names and rarer words come from the words that the service returns.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_CANTONESE: Final = """
我哋 你哋 佢哋 大家 自己 人哋 邊個 邊度 幾時 點解 點樣 點算 乜嘢 咩嘢 呢個 嗰個 呢度 嗰度 呢啲 嗰啲 呢位 嗰位 呢次
嗰次 今次 嗰陣 呢排 而家 頭先 啱啱 跟住 之後 之前 然之後 尋日 琴日 聽日 後日 前日 今日 今年 舊年 出年 今晚 尋晚 聽晚
朝早 晏晝 下晝 上晝 夜晚 即係 但係 因為 所以 如果 不過 雖然 或者 定係 同埋 仲有 仲係 就係 都係 唔係 係咪 係唔係 有冇
冇得 可以 可能 應該 需要 一定 一齊 一樣 一直 一啲 有啲 好似 好多 好少 幾多 咁多 咁樣 咁啱 覺得 知道 唔知 鍾意 中意
唔該 多謝 對唔住 唔好意思 早晨 大約 左右 其實 已經 仍然 終於 突然 特別 非常 比較 最後 最近 開始 繼續 完成 希望 想像
問題 方法 時間 時候 地方 事情 嘢食 做嘢 返工 放工 收工 返學 放學 屋企 公司 老細 同事 朋友 學生 老師 醫生 政府 社會
香港 九龍 新界 中環 銅鑼灣 旺角 尖沙咀 地鐵 巴士 的士 電話 電郵 手機 電腦 網上 節目 新聞 天氣 訊息 資料 錄音 字幕
聲音 主持 主持人 歡迎 收聽 參加 參與 上個 下個 禮拜 星期 聯絡 解決 處理 安排 服務 客戶 客人 先生 小姐 太太 價錢 平時
場地 費用 值得 幫手 幫忙 收到 睇到 聽到 搵到 搵唔到 見到 諗住 記得 唔記得 話俾 打俾 俾返
"""
_MANDARIN: Final = """
我們 我们 你們 你们 他們 他们 她們 她们 咱們 咱们 什麼 什么 怎麼 怎么 為什麼 为什么 這個 这个 那個 那个 哪個 哪个
這裡 这里 那裡 那里 這樣 这样 那樣 那样 這些 这些 那些 這麼 这么 那麼 那么 現在 现在 今天 明天 昨天 今年 去年 明年
早上 下午 晚上 以後 以后 以前 之后 然後 然后 因为 虽然 但是 可是 如果 或者 還有 还有 還是 还是 就是 不是 是不是 沒有
没有 應該 应该 可以 可能 需要 一起 一樣 一样 一直 一些 有些 好像 很多 多少 知道 覺得 觉得 喜歡 喜欢 認為 认为 謝謝
谢谢 對不起 对不起 請問 请问 其实 已經 已经 終於 终于 突然 特别 非常 比较 最后 最近 開始 开始 繼續 继续 希望 問題
问题 方法 時間 时间 時候 时候 地方 事情 工作 公司 朋友 學生 学生 老师 醫生 医生 政府 社会 国家 國家 中国 中國 城市
广州 廣州 北京 上海 深圳 台灣 台湾 市場 市场 經濟 经济 发展 發展 關係 关系 分析 房地产 房地產 中介 协会 協會 項目
项目 完工 通车 通車 直到 垂直 净空 淨空 電影 电影 手机 电脑 网上 節目 节目 新闻 天气 信息 资料 錄音 录音 声音
"""

# All pairs of characters that follow each other in these words.
_PAIRS: Final = frozenset(
    first + second for word in (_CANTONESE + _MANDARIN).split() for first, second in pairwise(word)
)


def inside_word(before: str, after: str) -> bool:
    """Whether two adjacent characters probably belong to the same word, because a common word contains this pair."""
    return before + after in _PAIRS
