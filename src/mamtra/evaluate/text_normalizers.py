"""The three rules by which published word error rates make texts comparable. Rates by different rules are different figures."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from importlib import metadata

from mamtra.errors import MamTraError
from mamtra.evaluate.error_rates import comparable, english_normaliser

RULES = ("english", "basic", "seedtts")
"""english: Whisper's English normaliser on both sides, spelt letters and digits joined. basic: Whisper's basic normaliser, as
VERSA's `whisper_basic`, which the paper's figures rest on. seedtts: Seed-TTS-eval's, which only takes punctuation away."""

_CHINESE = (
    "＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､　、〃〈〉《》"
    "「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏﹑﹔·．！？｡。"
)
_GONE = str.maketrans("", "", _CHINESE + string.punctuation.replace("'", ""))


def normaliser(rule: str) -> tuple[Callable[[str], str], str]:
    """A text rule and what it is, for the stamp of a score file.

    Raises:
        MamTraError: no such rule, or its package is missing.
    """
    if rule == "seedtts":
        return seedtts, "punctuation taken away, as Seed-TTS-eval does"
    if rule == "english":
        normalise, about = english_normaliser()
        return lambda text: comparable(text, normalise), about + ", letters and digits joined"
    if rule == "basic":
        try:
            from whisper_normalizer.basic import BasicTextNormalizer
        except ImportError as error:
            raise MamTraError("Counting word errors needs whisper-normalizer; pip install 'mamtra[eval]'.") from error
        basic = BasicTextNormalizer()
        version = metadata.version("whisper-normalizer")
        return lambda text: " ".join(basic(text).split()), f"BasicTextNormalizer of whisper-normalizer {version}"
    raise MamTraError(f"There is no text rule {rule!r}; the rules are {', '.join(RULES)}.")


def seedtts(text: str) -> str:
    """Lower case without punctuation but the apostrophe; of two blanks in a row one goes, once, as in Seed-TTS-eval."""
    return re.sub("  ", " ", text.translate(_GONE)).lower()
