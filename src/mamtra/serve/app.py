"""The web application, put together."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from mamtra.runtime.arguments import checked
from mamtra.serve.body import BoundedBody
from mamtra.serve.catalogue import catalogue_routes
from mamtra.serve.elevenlabs import elevenlabs_routes
from mamtra.serve.elevenlabs_socket import elevenlabs_socket_routes
from mamtra.serve.errors import install_error_handlers
from mamtra.serve.guard import Guard
from mamtra.serve.health import health_routes
from mamtra.serve.openapi import use_own_document
from mamtra.serve.page import page_routes
from mamtra.serve.settings import ServeSettings
from mamtra.serve.speaker import Speaker
from mamtra.serve.speech import speech_routes
from mamtra.serve.speech_socket import speech_socket_routes
from mamtra.serve.uploads import upload_routes
from mamtra.tts import TTS
from mamtra.version import VERSION

ROUTES = (
    speech_routes,
    speech_socket_routes,
    elevenlabs_routes,
    elevenlabs_socket_routes,
    catalogue_routes,
    upload_routes,
    health_routes,
    page_routes,
)
log = logging.getLogger("mamtra.serve")


@checked
def create_app(
    tts: TTS, settings: ServeSettings | None = None, *, warm_up: bool = True, speaker: Speaker | None = None
) -> FastAPI:
    """An ASGI application that speaks; it holds all its state itself, so that a process may have several.

    Args:
        tts: the model.
        settings: of the server.
        warm_up: speak a few words when it starts; it is ready afterwards.
        speaker: that speaks; one in this process by default.

    Raises:
        MamTraError: an alias names no voice.
    """
    settings = settings or ServeSettings()
    speaker = speaker or Speaker(tts, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = threading.Thread(target=_warm_up, args=(speaker,), name="mamtra-warm-up", daemon=True)
        if warm_up:
            warming.start()
        else:
            speaker.ready = True
        async with AsyncExitStack() as resources:
            if settings.wyoming_port is not None:
                from mamtra.serve.wyoming import wyoming_server

                port = await resources.enter_async_context(
                    wyoming_server(speaker, settings.host, settings.wyoming_port)
                )
                app.state.wyoming_port = port
                log.info("Wyoming at %s:%d.", settings.host, port)
            yield
        speaker.admission.draining = True
        if warm_up:
            warming.join()
        speaker.close()

    app = FastAPI(
        title="MamTra",
        version=VERSION,
        description="Text to speech with OpenAI's interface.",
        lifespan=lifespan,
        docs_url=None,  # these two pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.speaker = speaker
    routers = [routes(speaker) for routes in ROUTES]
    for router in routers:
        app.include_router(router)
    install_error_handlers(app, [route for router in routers for route in router.routes])
    use_own_document(app)
    app.add_middleware(BoundedBody, settings=settings)
    app.add_middleware(Guard, settings=settings, metrics=speaker.metrics)
    if settings.origins:  # outermost: what browsers ask before a request carries no key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Seed", "X-Sample-Rate", "X-Request-Id", "X-Ignored", "X-AI-Generated", "Retry-After"],
        )
    return app


def _warm_up(speaker: Speaker) -> None:
    try:
        speaker.warm_up()
        log.info("Ready.")
    except Exception:
        log.exception("The model could not speak; the server stays unready.")
