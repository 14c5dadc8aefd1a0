"""Few file descriptors: connections wait, nothing fails, and the log has one line."""

import asyncio
import errno
import logging
import resource
import socket

import pytest

from mamtra.errors import MamTraError
from mamtra.serve import listeners
from mamtra.serve.listeners import Listener, listen, raise_file_limit, say_once


@pytest.fixture(autouse=True)
def log_is_heard(monkeypatch):
    """Packages that other tests import may have switched the logger off."""
    monkeypatch.setattr(listeners.log, "disabled", False)
    monkeypatch.setattr(listeners.log, "propagate", True)
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    listeners.log.setLevel(logging.INFO)
    yield
    listeners.log.setLevel(logging.NOTSET)


def test_connections_that_would_take_the_last_descriptors_wait(caplog):
    served, at_once = [], []

    async def answer(reader, writer):
        at_once.append(writer)
        served.append((await reader.read(1), len(at_once)))
        at_once.remove(writer)
        writer.close()

    async def run():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(say_once())
        [one] = listen("127.0.0.1", 0, 60)
        one.listen()
        clients = [socket.create_connection(one.getsockname()) for _ in range(12)]
        free = [socket.socket() for _ in range(5)]  # the lowest ones, which need not follow each other
        one._most = free[-1].fileno() + listeners.RESERVED
        for each in free:
            each.close()
        server = await asyncio.start_server(answer, sock=one, backlog=8)
        await asyncio.sleep(0.05)
        assert len(at_once) == 4
        for number, client in enumerate(clients):
            client.sendall(b"q")
            while len(served) < number + 1:
                await asyncio.sleep(0.01)
            client.close()
        server.close()
        await server.wait_closed()

    with caplog.at_level(logging.INFO):
        asyncio.run(asyncio.wait_for(run(), 30))
    assert [what for what, _ in served] == [b"q"] * 12 and max(count for _, count in served) <= 8
    assert [record.getMessage() for record in caplog.records] == [
        "Connections wait: too many open files; allow more with ulimit -n."
    ]


def test_the_log_tells_again_after_a_minute_and_leaves_other_errors_as_they_are(caplog):
    now, others = [0.0], []
    handle = say_once(lambda: now[0])

    class Loop:
        def default_exception_handler(self, context):
            others.append(context)

    for second in (0, 1, 59, 61):
        now[0] = second
        handle(Loop(), {"exception": OSError(errno.ENFILE, "Too many open files in system")})
    handle(Loop(), {"exception": ValueError("Invalid file descriptor: -1")})
    handle(Loop(), {"exception": KeyError("x")})
    handle(Loop(), {"message": "no exception"})
    assert len(caplog.records) == 2 and len(others) == 2


def test_where_it_cannot_listen_is_one_sentence(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MamTraError, match=f"port {port}: Address already in use"):
            listen("127.0.0.1", port, 60)
    with pytest.raises(MamTraError, match=r"cannot listen at 192\.0\.2\.7, port 0"):
        listen("192.0.2.7", 0, 60)
    monkeypatch.setattr(listeners, "raise_file_limit", lambda: 20)
    with pytest.raises(MamTraError, match=r"needs at least \d+ open files, and 20 are allowed \(ulimit -n\)"):
        listen("127.0.0.1", 0, 60)


def test_every_address_of_a_host_is_listened_at():
    try:
        found = listen("localhost", 0, 60)
    except MamTraError:
        pytest.skip("no such name here")
    assert all(isinstance(each, Listener) for each in found)
    assert {each.family for each in found} <= {socket.AF_INET, socket.AF_INET6}
    for each in found:
        each.close()


def test_the_limit_is_raised_as_far_as_it_may_be(monkeypatch):
    limits = [(256, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    assert raise_file_limit() == 4096 and limits[-1] == (4096, 4096)
    limits[:] = [(256, resource.RLIM_INFINITY)]
    assert raise_file_limit() == listeners.MOST_FILES
    limits[:] = [(resource.RLIM_INFINITY, resource.RLIM_INFINITY)]
    assert raise_file_limit() is None

    def refuse(_, pair):
        raise ValueError("not allowed")

    limits[:] = [(256, 4096)]
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_file_limit() == 256
