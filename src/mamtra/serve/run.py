"""Run the server until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

from mamtra.runtime.allocator import share_arena
from mamtra.runtime.arguments import checked
from mamtra.runtime.optional import need
from mamtra.serve.settings import ServeSettings
from mamtra.tts import TTS

if TYPE_CHECKING:
    from fastapi import FastAPI

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
    from mamtra.serve.app import create_app
    from mamtra.serve.front_processes import FrontProcesses, check_front_processes
    from mamtra.serve.listeners import listen
    from mamtra.serve.memory import check_addresses

    check_addresses(settings.streams)
    if settings.front_processes:
        check_front_processes(tts)
    if tts.model.joins_hops:  # the engines' threads ask for the interpreter at every step
        sys.setswitchinterval(SWITCH_SECONDS)
    if tts.model.arrays != "torch":
        share_arena()  # with an arena for each thread the memory of a server grows
    app = None if settings.front_processes else create_app(tts, settings)
    sockets = listen(settings.host, settings.port, settings.stall_seconds)
    log_to_stderr()
    if app is not None:
        run_app(app, sockets, settings)
        return
    for each in sockets:
        log_address(each)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(FrontProcesses(tts, settings, sockets).run())


def run_app(app: FastAPI, sockets: list[socket.socket], settings: ServeSettings, *, announce: bool = True) -> None:
    """Answer at these sockets until SIGTERM or Ctrl-C.

    Args:
        app: from `mamtra.serve.app.create_app`.
        sockets: from `mamtra.serve.listeners.listen`.
        settings: of the server.
        announce: say where it listens.
    """
    import uvicorn

    from mamtra.serve.listeners import ACCEPTED_AT_ONCE, say_once

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            asyncio.get_running_loop().set_exception_handler(say_once())
            await super().startup(sockets)
            for each in sockets if announce and sockets else ():
                log_address(each)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.speaker.admission.draining = True
            super().handle_exit(sig, frame)

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
    with contextlib.suppress(KeyboardInterrupt):  # it was told to stop, and has drained
        Server(config).run(sockets)


def log_to_stderr() -> None:
    """What the server tells its operator."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def log_address(listening: socket.socket) -> None:
    """Tell where the server is."""
    host, port = listening.getsockname()[:2]
    log.info("Listening at http://%s:%d (Ctrl-C to stop).", f"[{host}]" if ":" in host else host, port)
