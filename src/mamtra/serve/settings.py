"""What an operator decides: where the server listens, whom it lets in, and how much it takes on."""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import Field

from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.strict_models import ClosedModel
from mamtra.serve.keys import Key


class ServeSettings(ClosedModel):
    """Settings of the server.

    Attributes:
        host: address to listen on; only this machine reaches 127.0.0.1.
        port: TCP port.
        wyoming_port: TCP port for Home Assistant's protocol, which knows no keys; None for none.
        keys: who may use it; empty for everybody who reaches it.
        open_to_all: listen on other addresses than this machine's without keys.
        origins: web pages of other hosts that may use it, such as "https://example.org".
        streams: texts that are spoken side by side; further requests wait.
        waiting: requests that may wait; further ones are told to come back (503).
        most_memory: bytes that the states and caches of the texts being spoken may take; None for four fifths of what is free once
            the model is warm.
        first_audio_seconds: a request without audio after so long is given up (503).
        front_processes: processes for HTTP, text and encoding beside the one with the model; 0 for all in one.
        hops_at_once: chunks of audio that are computed side by side, the most urgent ones first; None for one for each core, four
            at most: tokens of one text are drawn on one core while another turns those of another text into sound.
        most_characters: of a text.
        most_body: bytes of a request but an upload.
        body_seconds: a request has to arrive within.
        stall_seconds: a listener who takes nothing for so long is cut off.
        drain_seconds: after SIGTERM, running requests may go on for so long.
        uploads: whether voices may be added and removed.
        most_upload: bytes of a recording.
        upload_seconds: duration of a recording once it is decoded.
        most_voices: that users may add.
        strict_models: refuse names of models other than the one that is served.
        watermark: key to mark the samples with, see `mamtra.audio.watermark`; None for no mark.
        aliases: further names of voices, such as {"alloy": "clara"}, above the defaults.
    """

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    wyoming_port: int | None = Field(None, ge=0, le=65535)
    keys: tuple[Key, ...] = ()
    open_to_all: bool = False
    origins: tuple[str, ...] = ()
    streams: int = Field(8, ge=1)
    waiting: int = Field(32, ge=0)
    most_memory: int | None = Field(None, ge=1)
    first_audio_seconds: float = Field(30, gt=0)
    front_processes: int = Field(0, ge=0, le=64)
    hops_at_once: int | None = Field(None, ge=1)
    most_characters: int = Field(10_000, ge=1, le=100_000)
    most_body: int = Field(2**20, ge=1024)
    body_seconds: float = Field(30, gt=0)
    stall_seconds: float = Field(60, gt=0)
    drain_seconds: float = Field(30, ge=0)
    uploads: bool = True
    most_upload: int = Field(10 * 2**20, ge=1024)
    upload_seconds: float = Field(60, gt=0)
    most_voices: int = Field(1000, ge=0)
    strict_models: bool = False
    watermark: str | None = None
    aliases: dict[str, str] = Field(default_factory=dict)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)

    def pack(self) -> dict[str, Any]:
        """As JSON for another process, see `unpack`."""
        keys = [[key.name, key.digest.hex(), key.streams] for key in self.keys]
        return {**self.model_dump(mode="json", exclude={"keys"}), "keys": keys}

    @classmethod
    @checked
    def unpack(cls, packed: dict[str, Any]) -> ServeSettings:
        """The settings of `pack`."""
        keys = tuple(Key(name, bytes.fromhex(digest), streams) for name, digest, streams in packed["keys"])
        return cls(**{**packed, "keys": keys, "origins": tuple(packed["origins"])})

    def check_reach(self) -> None:
        """Refuse to be reachable from elsewhere without a key, unless that is asked for.

        Raises:
            MamTraError: it would be.
        """
        if not (self.on_loopback or self.keys or self.open_to_all):
            raise MamTraError(
                f"{self.host} is reachable from other machines; set a key in MAMTRA_API_KEY or with --keys FILE, "
                "or let everybody in with --open-to-all."
            )
        if self.wyoming_port is not None and not (self.on_loopback or self.open_to_all):
            raise MamTraError(
                f"Wyoming knows no keys, and {self.host} is reachable from other machines; leave --wyoming out, or let "
                "everybody in with --open-to-all."
            )


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
