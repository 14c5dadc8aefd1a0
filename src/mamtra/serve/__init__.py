"""The speech server: any OpenAI or ElevenLabs client, voice agent, home assistant or browser plugs in (`mamtra serve`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mamtra.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from mamtra.serve.app import create_app
    from mamtra.serve.run import serve
    from mamtra.serve.settings import ServeSettings

__all__ = ["ServeSettings", "create_app", "serve"]

__getattr__ = lazy_names(
    __name__, {"ServeSettings": "mamtra.serve.settings", "create_app": "mamtra.serve.app", "serve": "mamtra.serve.run"}
)
