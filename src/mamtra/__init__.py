"""MamTra: hybrid Mamba-Transformer text to speech.

    import mamtra

    tts = mamtra.load()
    tts.say("Hello").save("hello.mp3")

Names are imported when first used, so that `import mamtra` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mamtra.runtime.before_torch import set_environment
from mamtra.runtime.lazy import lazy_names
from mamtra.version import VERSION as __version__

set_environment()

if TYPE_CHECKING:
    from mamtra.bulk.api import batch
    from mamtra.conversion.convert import convert
    from mamtra.cost.plan import plan
    from mamtra.data.api import prepare
    from mamtra.errors import MamTraError
    from mamtra.models.plan import LayerPlan
    from mamtra.ranking.api import rank
    from mamtra.tts import TTS, Audio, load
    from mamtra.voices.voice import Voice

__all__ = [
    "TTS",
    "Audio",
    "LayerPlan",
    "MamTraError",
    "Voice",
    "__version__",
    "batch",
    "convert",
    "load",
    "plan",
    "prepare",
    "rank",
]

__getattr__ = lazy_names(
    __name__,
    {
        "TTS": "mamtra.tts",
        "Audio": "mamtra.tts",
        "load": "mamtra.tts",
        "rank": "mamtra.ranking.api",
        "batch": "mamtra.bulk.api",
        "convert": "mamtra.conversion.convert",
        "plan": "mamtra.cost.plan",
        "Voice": "mamtra.voices.voice",
        "LayerPlan": "mamtra.models.plan",
        "MamTraError": "mamtra.errors",
        "prepare": "mamtra.data.api",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
