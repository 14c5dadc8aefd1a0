"""What a front process leaves to the process with the model: who may speak, and the figures of the whole server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mamtra.serve.admission import stopping
from mamtra.serve.errors import ApiError
from mamtra.serve.keys import Key
from mamtra.serve.metrics import Spoken
from mamtra.serve.model_client import ModelClient, good
from mamtra.serve.settings import ServeSettings
from mamtra.serve.speaker import Speaker

if TYPE_CHECKING:
    from mamtra.serve.front_tts import FrontTTS


class FrontTicket:
    """See `mamtra.serve.admission.Ticket`.

    Args:
        client: that is told.
        number: of the question that it answers.
    """

    def __init__(self, client: ModelClient, number: int) -> None:
        self._client, self._number = client, number

    def leave(self) -> None:
        """See `mamtra.serve.admission.Ticket.leave`."""
        self._client.tell("leave", number=self._number)


class FrontAdmission:
    """See `mamtra.serve.admission.Admission`: one queue for all front processes.

    Args:
        client: asked.
        streams: texts that are spoken side by side.
    """

    def __init__(self, client: ModelClient, streams: int) -> None:
        self._client, self.streams, self.draining = client, streams, False

    @property
    def budget(self) -> int | None:
        """Bytes that the texts being spoken may take together."""
        return self._client.budget

    async def enter(self, key: Key | None, need: int = 0) -> FrontTicket:
        """See `mamtra.serve.admission.Admission.enter`.

        Raises:
            ApiError: likewise.
        """
        if self.draining:
            raise stopping()
        who = {} if key is None else {"key": key.name, "most": key.streams}
        number, answer = self._client.ask("enter", need=need, **who)
        try:
            message = await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            self._client.tell("leave", number=number)
            raise
        content = message.content
        if content["kind"] == "refused":
            raise ApiError(content["status"], content["message"], code=content["code"], headers=content["headers"])
        good(message)
        return FrontTicket(self._client, number)


class FrontMetrics:
    """See `mamtra.serve.metrics.Metrics`.

    Args:
        client: that keeps the figures.
    """

    def __init__(self, client: ModelClient) -> None:
        self._client = client

    def answered(self, method: str, route: str, status: int) -> None:
        """See `mamtra.serve.metrics.Metrics.answered`."""
        self._client.tell("answered", figures=[method, route, status])

    def ended(self, spoken: Spoken) -> None:
        """See `mamtra.serve.metrics.Metrics.ended`."""
        self._client.tell("ended", figures=list(spoken))

    def refused(self, reason: str) -> None:
        """See `mamtra.serve.metrics.Metrics.refused`."""
        self._client.tell("refused", figures=[reason])

    def page(self) -> bytes:
        """See `mamtra.serve.metrics.Metrics.page`."""
        return self._client.answer("page").parts[0]


class FrontSpeaker(Speaker):
    """The speaker of a front process.

    Args:
        tts: of the process.
        settings: of the server.
        client: of the process with the model.
    """

    def __init__(self, tts: FrontTTS, settings: ServeSettings, client: ModelClient) -> None:
        self._client = client
        super().__init__(tts, settings, FrontMetrics(client), FrontAdmission(client, settings.streams))

    def warm_up(self) -> None:
        """Wait until the process with the model is warm."""
        self.ready = self._client.wait_ready()
