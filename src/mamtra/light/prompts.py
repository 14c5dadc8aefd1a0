"""The flow behind the prompt of a voice: computed once, and kept in a folder for the processes that follow.

A file holds the state of one prompt, about a megabyte for 4 s and an evaluation of the flow, and the SHA-256 of its content; its
name is the hash of all that decides the state. The folder is safe to delete: what is missing or damaged is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mamtra.errors import MamTraError
from mamtra.light.flow import LightFlow, LightFlowStream
from mamtra.runtime.files import hash_files, write_bytes
from mamtra.voices.voice import Voice

FORMAT = 1
SUFFIX = ".prompt"
MOST_BYTES = 2**28
"""Of the folder; the prompts used longest ago are deleted."""


def cache_folder() -> Path | None:
    """Where prompts are kept: `MAMTRA_CACHE`, or nowhere where that is empty, else the platform's place for such files."""
    chosen = os.environ.get("MAMTRA_CACHE")
    if chosen is not None:
        return Path(os.path.expanduser(chosen)) if chosen else None
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mamtra"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "mamtra" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mamtra"


def behind_prompt(flow: LightFlow, voice: Voice) -> LightFlowStream:
    """A stream that has taken in the prompt of a voice, from the folder where it is there."""
    stream = flow.stream(voice.prompt_speech, voice.prompt_mel, voice.embedding)
    folder = cache_folder()
    if folder is None or not len(voice.prompt_speech):
        stream.push([])
        return stream
    path = folder / f"{_name(flow, voice)}{SUFFIX}"
    kept = _read(path)
    if kept is None or not stream.restore(kept):
        stream.push([])
        _keep(path, stream.state())
    return stream


def _name(flow: LightFlow, voice: Voice) -> str:
    about = {"format": FORMAT, "onnxruntime": ort.__version__, "flow": hash_files(*flow.files), **flow.settings}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for array in (voice.prompt_speech, voice.prompt_mel, voice.embedding):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file, None where it is missing or damaged."""
    try:
        with safe_open(path, framework="np") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            digest = (file.metadata() or {}).get("sha256")
        os.utime(path)
    except (OSError, SafetensorError):
        return None
    return state if digest == _hash(state) else None


def _hash(state: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name]))
    return digest.hexdigest()


def _keep(path: Path, state: dict[str, np.ndarray]) -> None:
    """Write a file, and delete the oldest ones beyond `MOST_BYTES`; a folder that cannot be written is left alone."""
    with contextlib.suppress(OSError, MamTraError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, save(state, metadata={"sha256": _hash(state)}))
        total = 0
        for other in sorted(path.parent.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime, reverse=True):
            total += other.stat().st_size
            if total > MOST_BYTES and other != path:
                other.unlink()
