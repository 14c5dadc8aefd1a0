"""Playing sound through whatever player the system has."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from mamtra.tts import Audio

PLAYERS = (
    ("afplay",),
    ("paplay",),
    ("pw-play",),
    ("aplay", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "quiet"),
    ("play", "-q"),
)


def find_player() -> tuple[str, ...] | None:
    """Command of the first player that is installed."""
    return next((player for player in PLAYERS if shutil.which(player[0])), None)


def need_player() -> tuple[str, ...]:
    """`find_player`, where there has to be one.

    Raises:
        MamTraError: no player is installed.
    """
    player = find_player()
    if player is None:
        names = ", ".join(command[0] for command in PLAYERS)
        raise MamTraError(f"No player was found; install one of {names}, or write a file with -o.")
    return player


def play_audio(audio: Audio, player: tuple[str, ...]) -> None:
    """Play audio and wait for its end.

    Raises:
        MamTraError: the player fails (no sound device).
    """
    with tempfile.TemporaryDirectory() as folder:
        path = audio.save(Path(folder) / "speech.wav")
        done = subprocess.run([*player, str(path)], check=False, capture_output=True)
    if done.returncode:
        raise MamTraError(f"{player[0]} could not play the sound; write a file with -o and play it elsewhere.")
