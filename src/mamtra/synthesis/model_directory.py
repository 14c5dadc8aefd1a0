"""What the models of both runtimes know of their directory."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.model_files import find_beside, read_config, read_generation
from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from mamtra.text.bpe import BpeFrontend
    from mamtra.text.frontend import TextFrontend
    from mamtra.voices.voice import Voice


class ModelDirectory:
    """A model directory (see `mamtra.checkpoints.native`): its settings, and its text front end.

    Attributes:
        directory: the model directory.
        config: content of config.json.
        generation: generation defaults.
        joins_hops: whether the chunks of all streams are computed together, the most urgent first.
    """

    joins_hops = False

    def __init__(self, directory: str | os.PathLike) -> None:
        self.directory = Path(directory)
        self.config: dict[str, Any]
        self.generation: GenerationConfig
        self._read()
        self._text: TextFrontend | BpeFrontend | None = None
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.directory.resolve().name

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio, Hz."""
        return int(self.config.get("sample_rate", 24000))

    @property
    def voice_space(self) -> str:
        """Which voices fit, see `mamtra.checkpoints.native.voice_space`."""
        return str(self.config.get("voice_space", ""))

    @property
    def speakers(self) -> Mapping[str, Mapping[str, Any]]:
        """Speakers that came in another form than a voice file, by name; a directory of this package has none."""
        return {}

    @property
    def text(self) -> TextFrontend | BpeFrontend:
        """The text front end.

        Raises:
            MamTraError: a file of it is missing or damaged, or the model does not speak.
        """
        with self._lock:
            if self._text is None:
                self.check_speaks()
                self._text = self._open_text()
            return self._text

    def check_speaks(self) -> None:
        """Refuse a language model of text.

        Raises:
            MamTraError: it is one.
        """
        if "causal_lm" in self.config:
            raise MamTraError(
                f"{self.name} is a language model of text, with no voices and no text front end; name a model that speaks."
            )

    def warm_up(self, voices: Sequence[Voice]) -> None:
        """Capture the graphs of a GPU for any number of streams of these voices; nothing elsewhere."""

    def _read(self) -> None:
        self.config = read_config(self.directory)
        self.generation = read_generation(self.directory)

    def _open_text(self) -> TextFrontend | BpeFrontend:
        from mamtra.text.frontend import CONFIG_FILE
        from mamtra.text.open_text import open_text

        return open_text(find_beside(self.directory, CONFIG_FILE), self.generation.text_rules)
