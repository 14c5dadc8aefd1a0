"""`mamtra serve --front-processes N`: HTTP, text and encoding in processes beside the one that has the model.

Python's interpreter runs one thread of a process at a time. On a GPU the model's own threads need it at every step, and
hundreds of listeners would keep them waiting; in processes of their own they do not.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from mamtra.errors import MamTraError
from mamtra.serve.admission import admission_of
from mamtra.serve.desk import Desk
from mamtra.serve.link import Link
from mamtra.serve.loops import call_in
from mamtra.serve.metrics import Metrics
from mamtra.serve.settings import ServeSettings
from mamtra.serve.speaker import computed_at_once, warm_up
from mamtra.tts import TTS

log = logging.getLogger("mamtra.serve")
SHORT_SECONDS, PAUSE_SECONDS = 10.0, 1.0
"""A front process that ended sooner than the first is started again after the second."""
END_SECONDS = 5.0
"""For a front process to end in, beside the time for running texts."""


def check_front_processes(tts: TTS) -> None:
    """Refuse models that front processes cannot read for.

    Raises:
        MamTraError: the runtime is not torch, or the system is Windows.
    """
    if sys.platform == "win32":
        raise MamTraError("Front processes share a socket, which Windows has no way for; leave --front-processes out.")
    if tts.model.arrays != "torch":
        raise MamTraError("Front processes are for models that run with torch; leave --front-processes out.")


class FrontProcesses:
    """Starts front processes, serves them, and starts those that end again.

    Args:
        tts: the model.
        settings: of the server.
        sockets: that the front processes listen on.
    """

    def __init__(self, tts: TTS, settings: ServeSettings, sockets: list[socket.socket]) -> None:
        self._tts, self._settings, self._sockets = tts, settings, sockets
        self._admission = admission_of(settings)
        self._metrics = Metrics()
        self._metrics.watch(self._admission, tts)
        self._threads = ThreadPoolExecutor(settings.streams, thread_name_prefix="mamtra-speak")
        self._desks: dict[int, Desk] = {}
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready = False

    async def run(self) -> None:
        """Until SIGTERM or Ctrl-C; texts that are being spoken then may end."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, told.set)
        threading.Thread(target=self._warm_up, args=(loop,), name="mamtra-warm-up", daemon=True).start()
        keeping = [asyncio.create_task(self._keep(number)) for number in range(self._settings.front_processes)]
        await told.wait()
        self._admission.draining = True
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(keeping, timeout=self._settings.drain_seconds + END_SECONDS)
        for process in self._processes.values() if late else ():
            with suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*keeping)
        self._threads.shutdown(cancel_futures=True)

    def _warm_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread."""
        try:
            warm_up(self._tts, self._admission)
        except Exception:
            log.exception("The model could not speak; the server stays unready.")
            return
        gc.collect()
        gc.freeze()  # what the model consists of stays; the collector would look at all of it while steps wait
        log.info("Ready.")
        call_in(loop, self._tell_ready)

    def _tell_ready(self) -> None:
        self._ready = True
        for desk in self._desks.values():
            desk.tell_ready()

    async def _keep(self, number: int) -> None:
        """One front process, and those that follow it."""
        while not self._admission.draining:
            began = time.monotonic()
            status = await self._serve_one(number)
            if self._admission.draining:
                return
            log.warning("Front process %d ended with status %s; another one takes its place.", number, status)
            if time.monotonic() - began < SHORT_SECONDS:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _serve_one(self, number: int) -> int:
        """A front process from its start to its end; its status."""
        ours, theirs = socket.socketpair()
        files = [each.fileno() for each in (theirs, *self._sockets)]
        command = sys.executable, "-m", "mamtra.serve.front", *map(str, files)
        with theirs:
            process = await asyncio.create_subprocess_exec(*command, pass_fds=files)
        with ours:
            link = Link(ours)
            link.send(self._setup(number))
            desk = Desk(link, self._tts, self._admission, self._metrics, self._threads)
            self._desks[number], self._processes[number] = desk, process
            if self._ready:
                desk.tell_ready()
            if self._admission.draining:
                process.terminate()
            status = await process.wait()
            desk.close()
            del self._desks[number], self._processes[number]
        return status

    def _setup(self, number: int) -> dict[str, object]:
        changes: dict[str, object] = {"hops_at_once": computed_at_once(self._tts, self._settings)}
        if number:  # one of them answers Home Assistant
            changes["wyoming_port"] = None
        return {
            "directory": str(self._tts.model.directory.resolve()),
            "generation": self._tts.model.generation.model_dump_json(),
            "settings": self._settings.model_copy(update=changes).pack(),
        }
