"""The voices at hand: those that came with a model and those that the user added."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mamtra.checkpoints.model_files import find_beside, read_generation
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.voices.info import check_name

if TYPE_CHECKING:
    from mamtra.voices.voice import Voice


def user_home() -> Path:
    """The user's own MamTra folder: `MAMTRA_HOME`, else the platform's place for configuration."""
    if os.environ.get("MAMTRA_HOME"):
        return Path(os.path.expanduser(os.environ["MAMTRA_HOME"]))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "mamtra"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home())) / "mamtra"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "mamtra"


class VoiceLibrary:
    """The voices of a model and those that the user added; the user's take precedence.

    Args:
        model_directory: a model directory; its `voices` folder is only read.
        home: the user's folder; `user_home()` by default.
    """

    @checked
    def __init__(self, model_directory: str | os.PathLike, home: Path | None = None) -> None:
        self.of_model = find_beside(model_directory, "voices")
        self._default = read_generation(model_directory).voice
        self.of_user = (home or user_home()) / "voices"

    def paths(self) -> dict[str, Path]:
        """Voice files by name, in alphabetical order."""
        found: dict[str, Path] = {}
        for folder in (self.of_model, self.of_user):
            found |= {path.stem: path for path in folder.glob("*.safetensors")}
        return dict(sorted(found.items()))

    @checked
    def path(self, name: str, speakers: Iterable[str] = ()) -> Path:
        """File of a voice.

        Args:
            name: of the voice.
            speakers: other names that the model knows.

        Raises:
            MamTraError: there is no such voice.
        """
        found = self.paths()
        if name not in found:
            have = ", ".join([*speakers, *found]) or "none"
            raise MamTraError(f"There is no voice {name!r}; voices here: {have}.")
        return found[name]

    def default(self) -> str:
        """Name of the voice to use where none is named: the model's default, else its first, else the user's first.

        Raises:
            MamTraError: there are no voices.
        """
        of_model = sorted(path.stem for path in self.of_model.glob("*.safetensors"))
        names = of_model or list(self.paths())
        if not names:
            raise MamTraError("This model has no voices; give a recording with --voice FILE.wav.")
        return self._default if self._default in names else names[0]

    @checked
    def is_users(self, name: str) -> bool:
        """Whether the user added the voice."""
        return self.path(name).parent == self.of_user

    @checked
    def place(self, name: str, *, replace: bool = False) -> Path:
        """File of a voice that is to be added.

        Args:
            name: of the voice.
            replace: allow the name of a voice that the user added.

        Raises:
            MamTraError: the name is taken, or cannot be one.
        """
        path = self.of_user / f"{check_name(name)}.safetensors"
        if (self.of_model / path.name).exists():
            raise MamTraError(f"The model has a voice {name!r}, which yours would hide; choose another name.")
        if path.exists() and not replace:
            raise MamTraError(f"There is a voice {name!r} already; replace it with --replace, or choose another name.")
        return path

    @checked
    def add(self, voice: Voice, *, replace: bool = False) -> Path:
        """Store a voice in the user's folder.

        Raises:
            MamTraError: see `place`, or the folder cannot be written.
        """
        from mamtra.voices.voice import Voice  # with torch, which listing does without

        if not isinstance(voice, Voice):
            raise MamTraError(f"VoiceLibrary.add: voice has to be a Voice, not {type(voice).__name__}.")
        path = self.place(voice.name, replace=replace)
        try:
            self.of_user.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MamTraError(f"{self.of_user} cannot be made; set MAMTRA_HOME to a folder you can write.") from error
        return voice.save(path)

    @checked
    def remove(self, name: str) -> Path:
        """Delete a voice that the user added, and return its path.

        Raises:
            MamTraError: unknown, or part of the model.
        """
        path = self.path(name)
        if path.parent != self.of_user:
            raise MamTraError(f"The voice {name!r} came with the model and cannot be removed.")
        path.unlink()
        return path
