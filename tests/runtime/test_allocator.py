"""Arenas of the C library."""

import os
import subprocess
import sys

import pytest

COUNT = """
import ctypes, sys, tempfile, threading
from mamtra.runtime.allocator import share_arena
print(share_arena() if sys.argv[1] == "share" else False)
libc, meet, held = ctypes.CDLL(None), threading.Barrier(4), []
libc.malloc.restype = ctypes.c_void_p
def take():
    meet.wait()
    held.append(libc.malloc(ctypes.c_size_t(1000)))
    meet.wait()
threads = [threading.Thread(target=take) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile("r") as told:
    file = ctypes.c_void_p(libc.fopen(told.name.encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)
    print(told.read().count("<heap nr="))
"""


def arenas(how, **environment):
    env = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | environment
    ran = subprocess.run([sys.executable, "-c", COUNT, how], env=env, capture_output=True, text=True, check=True)
    shared, count = ran.stdout.split()
    return shared == "True", int(count)


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "confstr"), reason="needs glibc")
def test_threads_share_an_arena_unless_the_environment_says_how_many():
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("needs glibc")
    assert arenas("share") == (True, 1)
    shared, several = arenas("own")
    assert not shared and several > 1
    assert arenas("share", MALLOC_ARENA_MAX="3")[0] is False
