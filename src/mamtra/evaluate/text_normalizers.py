"""The three text normalisations of published word error rates. Rates under different rules cannot be compared."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import cache
from importlib import metadata

from mamtra.errors import MamTraError
from mamtra.evaluate.error_rates import comparable, english_normaliser
from mamtra.runtime.optional import need

RULES = ("english", "basic", "seedtts")
"""english: Whisper's English normaliser on both sides, spelt letters and digits joined. basic: Whisper's basic normaliser, like
VERSA's `whisper_basic`, which the paper uses. seedtts: Seed-TTS-eval's, which only removes punctuation."""

_CHINESE = (
    "＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､　、〃〈〉《》"
    "「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏﹑﹔·．！？｡。"
)
_REMOVED = str.maketrans("", "", _CHINESE + string.punctuation.replace("'", ""))


@cache
def normaliser(rule: str) -> tuple[Callable[[str], str], str]:
    """A rule's function, and its description for the fingerprint of a score file.

    Raises:
        MamTraError: no such rule, or its package is missing.
    """
    if rule == "seedtts":
        return seedtts, "punctuation taken away, as Seed-TTS-eval does"
    if rule == "english":
        normalise, about = english_normaliser()
        return lambda text: comparable(text, normalise), about + ", letters and digits joined"
    if rule == "basic":
        basic = need("whisper_normalizer.basic", "Counting word errors").BasicTextNormalizer()
        version = metadata.version("whisper-normalizer")
        return lambda text: " ".join(basic(text).split()), f"BasicTextNormalizer of whisper-normalizer {version}"
    raise MamTraError(f"There is no text rule {rule!r}; the rules are {', '.join(RULES)}.")


def seedtts(text: str) -> str:
    """Lower case without punctuation except apostrophes; pairs of blanks become one, in a single pass, as in Seed-TTS-eval."""
    return re.sub("  ", " ", text.translate(_REMOVED)).lower()
