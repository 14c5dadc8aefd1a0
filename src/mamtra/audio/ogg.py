"""Ogg pages with a serial number of one's own (RFC 3533): encoders draw one at random, which makes equal sound unequal files."""

from __future__ import annotations

import struct
import zlib

_HEADER, _SERIAL, _CHECKSUM, _SEGMENTS = 27, 14, 22, 26
"""Bytes of a page before its table of segments, and where in it the fields begin."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def renumber(pages: bytes, serial: int) -> bytes:
    """Whole pages of one stream with another serial number.

    Args:
        pages: Ogg pages, one after the other.
        serial: 0 to 2^32 - 1.

    Raises:
        ValueError: they are no whole pages.
    """
    changed, start = bytearray(pages), 0
    while start < len(pages):
        table = start + _HEADER
        if pages[start : start + 4] != b"OggS" or table > len(pages):
            raise ValueError("no Ogg page")
        body = table + pages[start + _SEGMENTS]
        end = body + sum(pages[table:body])
        if end > len(pages):
            raise ValueError("an Ogg page that is cut off")
        struct.pack_into("<I", changed, start + _SERIAL, serial)
        struct.pack_into("<I", changed, start + _CHECKSUM, 0)
        struct.pack_into("<I", changed, start + _CHECKSUM, _checksum(changed[start:end]))
        start = end
    return bytes(changed)


def _checksum(page: bytes) -> int:
    """CRC of a page: zlib's polynomial over bits in the other order, from zero and not inverted."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
