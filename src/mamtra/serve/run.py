"""Run the server until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from types import FrameType

from mamtra.runtime.arguments import checked
from mamtra.runtime.optional import need
from mamtra.serve.settings import ServeSettings
from mamtra.tts import TTS

log = logging.getLogger("mamtra.serve")
PURPOSE, INSTALL = "The server", "'mamtra[serve]'"
SWITCH_SECONDS = 0.0005
"""For how long a thread may keep others waiting for the interpreter, on a GPU; Python's own 5 ms are several steps."""


@checked
def serve(tts: TTS, settings: ServeSettings | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; texts that are being spoken then may end.

    Args:
        tts: the model.
        settings: of the server.

    Raises:
        MamTraError: it would be open to everybody, cannot listen there, has too few open files or addresses, or a library is
            missing.
    """
    settings = settings or ServeSettings()
    settings.check_reach()
    for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets"):
        need(module, PURPOSE, INSTALL)
    if settings.wyoming_port is not None:
        need("wyoming", "--wyoming", INSTALL)
    import uvicorn

    from mamtra.serve.app import create_app
    from mamtra.serve.listeners import ACCEPTED_AT_ONCE, listen, say_once
    from mamtra.serve.memory import check_addresses

    check_addresses(settings.streams)
    app = create_app(tts, settings)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            asyncio.get_running_loop().set_exception_handler(say_once())
            await super().startup(sockets)
            for each in sockets or ():
                host, port = each.getsockname()[:2]
                log.info("Listening at http://%s:%d (Ctrl-C to stop).", f"[{host}]" if ":" in host else host, port)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.speaker.admission.draining = True
            super().handle_exit(sig, frame)

    if tts.model.joins_hops:  # the engines' threads ask for the interpreter at every step
        sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = uvicorn.Config(
        app,
        backlog=ACCEPTED_AT_ONCE,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        timeout_keep_alive=75,  # longer than clients and balancers keep a connection that they mean to use again
        ws_max_size=settings.most_body,
        h11_max_incomplete_event_size=64 * 1024,
    )
    sockets = listen(settings.host, settings.port)
    with contextlib.suppress(KeyboardInterrupt):  # it was told to stop, and has drained
        Server(config).run(sockets)
