"""Words where a script shows none: between spaces that aren't there, and before particles that are written on.

Chinese, Japanese, Thai, Lao, Khmer and Burmese words are found by ICU's dictionaries, through icu4py (the extra
``segmentation``). Foreign names that no dictionary knows fall to pieces there; in Chinese they are known by the
characters that spell them, and put together again. Korean particles are found by a list: a name and its particle
make one word to the eye, so that without it three quarters of Korean names end inside a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import regex

# Particles and forms of the copula that follow nouns, the longest first.
_PARTICLES = sorted(
    (
        *("은", "는", "이", "가", "을", "를", "의", "에", "와", "과", "도", "만", "로", "께", "랑"),
        *(
            "에서",
            "에게",
            "에는",
            "에도",
            "께서",
            "으로",
            "부터",
            "까지",
            "처럼",
            "보다",
            "한테",
            "이나",
            "이랑",
            "하고",
        ),
        *("라고", "라는", "이다", "에서는", "에서의", "으로는", "이라고", "이라는", "입니다"),
    ),
    key=lambda particle: (-len(particle), particle),
)
# Characters that spell foreign names in Chinese, traditional and simplified, and those that are as often words.
_SPELLING = frozenset(
    "阿埃艾奧奥澳巴芭拜邦鮑鲍貝贝本波伯博勃布柏彼碧賓宾別别岑查茨茲兹達达戴黛丹當道德登鄧邓迪蒂狄笛第丁頓顿杜敦厄恩爾尔耳"
    "法範范菲費费芬弗夫佛福芙蓋盖甘戈哥格葛根古圭郭哈海漢汉翰豪赫亨洪胡華华霍基吉賈贾嘉迦伽杰傑金津卡凱凯坎康考柯科克肯"
    "孔庫库奎昆夸拉喇萊莱蘭兰朗勞劳勒雷蕾黎理莉麗丽利蓮莲林琳鄰隆龍龙盧卢魯鲁露倫伦羅罗洛瑪玛馬马邁迈麥麦曼芒毛梅美門门蒙"
    "孟彌弥米密敏明莫墨默姆穆納纳娜奈南內内能尼涅妮寧宁紐纽諾诺努歐欧帕潘龐庞佩彭蓬皮匹平珀普奇齊齐恰喬乔欽钦瓊琼丘仁日瑞"
    "若薩萨塞賽赛桑瑟森莎沙珊尚紹绍舍申什聖圣施石史士舒斯絲丝松蘇苏索塔泰坦湯汤唐特滕藤提廷圖图屠托陀瓦萬万旺威韋韦維维魏"
    "京安摩里裡根川歷历杭岡冈契茵訥讷季拿色策堪歇霞佳姬鮮耐切瑙"
    "溫温文翁沃烏乌武伍希錫锡西夏香肖謝谢辛興兴休修許许雅亞亚延揚扬楊杨耶葉叶伊易因英尤于約约贊赞澤泽扎紮詹珍芝朱茱佐坡"
)
_ALSO_WORDS = frozenset(
    "本別别達达當道登第耳法海金美門门米密明南內内能平仁日若沙石史士什特提圖图萬万文西夏許许因于約约興兴易理利修"
)
# Syllables that a word keeps: shorter stems are more often words that happen to end like a particle.
_LEAST_STEM = 2
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")


def segmenter() -> str:
    """What cuts words here: ``icu``, or ``letters`` where the extra isn't installed and each letter is a token."""
    return "letters" if _breaker() is None else "icu"


@lru_cache(maxsize=1 << 16)
def word_lengths(run: str) -> tuple[int, ...] | None:
    """The lengths of the words, in code points, of a run of a script without spaces; None without ICU."""
    breaker = _breaker()
    if breaker is None:
        return None
    # ICU counts UTF-16 units: a rare Chinese character is two of them.
    place, units = {0: 0}, 0
    for number, character in enumerate(run, 1):
        units += 2 if ord(character) > 0xFFFF else 1
        place[units] = number
    lengths = tuple(place[end] - place[start] for start, end in breaker(run, "root").segments())
    return lengths if _KANA.search(run) else _with_foreign_names(run, lengths)


def _with_foreign_names(run: str, lengths: Sequence[int]) -> tuple[int, ...]:
    """The lengths with neighbouring words made one where all their characters spell foreign names, at least half
    of them hardly anything else, and one of the words is a single character."""
    joined: list[int] = []
    part: list[int] = []  # lengths of the words of a run of such characters that ends at ``end``
    end = 0
    for length in (*lengths, 0):
        if length and _SPELLING.issuperset(run[end : end + length]):
            part.append(length)
        else:
            name = run[end - sum(part) : end]
            rare = sum(character not in _ALSO_WORDS for character in name)
            whole = len(part) > 1 and min(part) == 1 and 2 * rare >= len(name)
            joined += [len(name)] if whole else part
            part = []
            joined += [length] * (length > 0)
        end += length
    return tuple(joined)


def particle_length(word: str) -> int:
    """How many of the last syllables of a Korean word are a particle; 0 for none."""
    for particle in _PARTICLES:
        if len(word) - len(particle) >= _LEAST_STEM and word.endswith(particle):
            return len(particle)
    return 0


@lru_cache(maxsize=1)
def _breaker() -> Any:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError:
        return None
    return WordBreaker
