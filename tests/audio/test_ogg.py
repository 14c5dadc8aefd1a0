"""Serial numbers of Ogg pages."""

import io
import struct

import numpy as np
import pytest
import soundfile

from mamtra.audio.ogg import renumber


def made() -> bytes:
    buffer, sound = io.BytesIO(), np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    soundfile.write(buffer, sound, 24000, format="OGG", subtype="OPUS")
    return buffer.getvalue()


def naive_checksum(page: bytes) -> int:
    """CRC-32 of RFC 3533, bit by bit."""
    found = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        found ^= byte << 24
        for _ in range(8):
            found = (found << 1 ^ (0x04C11DB7 if found >> 31 else 0)) & 0xFFFFFFFF
    return found


def test_pages_carry_the_number_and_their_checksum():
    changed = renumber(made(), 0x12345678)
    at = changed.find(b"OggS", 1)
    while at >= 0:
        end = changed.find(b"OggS", at + 1)
        page = changed[at : end if end >= 0 else len(changed)]
        assert struct.unpack_from("<I", page, 14) == (0x12345678,)
        assert struct.unpack_from("<I", page, 22) == (naive_checksum(page),)
        at = end


def test_the_number_that_was_there_gives_the_same_bytes():
    content = made()
    assert renumber(content, *struct.unpack_from("<I", content, 14)) == content


def test_the_sound_stays():
    content = made()
    before, after = (soundfile.read(io.BytesIO(data))[0] for data in (content, renumber(content, 7)))
    assert np.array_equal(before, after)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[3:], lambda data: data + b"OggS"])
def test_what_is_no_whole_page_is_an_error(change):
    with pytest.raises(ValueError, match="page"):
        renumber(change(made()), 1)
