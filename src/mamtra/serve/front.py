"""A front process of `mamtra serve --front-processes`: HTTP, text and encoding. Started by `mamtra.serve.front_processes`."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Sequence

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.serve.app import create_app
from mamtra.serve.front_speaker import FrontSpeaker
from mamtra.serve.front_tts import FrontTTS
from mamtra.serve.link import Link
from mamtra.serve.listeners import Listener, raise_file_limit
from mamtra.serve.model_client import ModelClient
from mamtra.serve.run import log_to_stderr, run_app
from mamtra.serve.settings import ServeSettings


def main(words: Sequence[str]) -> None:
    """Serve until SIGTERM, or until the process with the model ends.

    Args:
        words: numbers of open files: the link, then the sockets to listen on.
    """
    end, *listening = map(int, words)
    link = Link(socket.socket(fileno=end))
    if (setup := link.receive()) is None:
        return
    settings = ServeSettings.unpack(setup.content["settings"])
    client = ModelClient(link)
    generation = GenerationConfig.model_validate_json(setup.content["generation"])
    tts = FrontTTS(client, setup.content["directory"], generation)
    app = create_app(tts, settings, speaker=FrontSpeaker(tts, settings, client))
    gc.freeze()  # the libraries stay; the collector would look at all of them while listeners wait
    most = raise_file_limit()
    log_to_stderr()
    run_app(app, [Listener(most, -1, -1, -1, number) for number in listening], settings, announce=False)


if __name__ == "__main__":
    main(sys.argv[1:])
