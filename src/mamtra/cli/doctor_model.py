"""Whether a model can be used: each part is read as `say` would read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError

SPEAKING = ("lm", "flow", "vocoder")
CLONING = ("speech_tokenizer", "speaker_encoder")


def examine_model(name: str | None) -> dict[str, Any]:
    """Facts about a model, ready for JSON.

    Args:
        name: directory or name; the built-in model where None.

    Returns:
        "directory", "parts" (whether each can be read), "voices", "speaks", "clones", and "problems": a sentence for each.
    """
    from mamtra.checkpoints.find import find_model
    from mamtra.voices.library import VoiceLibrary

    facts: dict[str, Any] = {
        "directory": None, "parts": {}, "voices": [], "speaks": False, "clones": False, "problems": [],
    }  # fmt: skip
    problems: list[str] = facts["problems"]

    def works(use: Callable[[], Any]) -> bool:
        try:
            use()
        except MamTraError as error:
            if str(error) not in problems:
                problems.append(str(error))
            return False
        return True

    try:
        directory = find_model(name)
        facts["directory"] = str(directory)
        model, library = _open(directory), VoiceLibrary(directory)
    except MamTraError as error:
        problems.append(str(error))
        return facts
    if "causal_lm" in model.config:
        return facts | {"parts": {"causal_lm": works(lambda: model.part("causal_lm"))}}
    for section in (*SPEAKING, *CLONING):
        # each with a model of its own, so that one part is in memory at a time
        facts["parts"][section] = works(lambda section=section: _open(directory).part(section))
    facts["parts"]["text"] = works(lambda: model.text)
    facts["voices"] = [*model.speakers, *(voice for voice, path in library.paths().items() if works(_reads(path)))]
    facts["speaks"] = all(facts["parts"][section] for section in (*SPEAKING, "text"))
    facts["clones"] = facts["speaks"] and all(facts["parts"][section] for section in CLONING)
    return facts


def usable(facts: dict[str, Any]) -> bool:
    """Whether a model does what it is for: it speaks, or is a readable language model alone."""
    return facts["speaks"] or facts["parts"].get("causal_lm", False)


def _open(directory: Path) -> Any:
    """The model in the runtime that it would have."""
    from mamtra.light.choice import choose_runtime

    if choose_runtime(directory, None, asks_torch=False) == "onnx":
        from mamtra.light.model import LightModel

        return LightModel(directory)
    from mamtra.synthesis.open_model import open_model

    return open_model(directory)


def _reads(path: Path) -> Callable[[], Any]:
    from mamtra.voices.voice import Voice

    return lambda: Voice.load(path, "numpy")
