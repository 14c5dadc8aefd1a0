"""When a client of the engine is woken."""

import threading

from mamtra.engine.request import Request, TokenStream, Unistream


class NoTurns:
    """Somebody else makes the turns."""

    def wait_for(self, arrived):
        pass

    def wake(self):
        pass


def stream_of():
    return TokenStream(Request(Unistream([1, 2])), NoTurns())


def test_a_client_is_woken_once_for_the_tokens_that_it_expects():
    stream, found = stream_of(), []
    stream.expect(3)
    client = threading.Thread(target=lambda: found.append(next(stream)))
    client.start()
    while stream._due > 3:
        pass
    for token in (5, 6):
        stream._put(token)
    assert stream._arrived.empty() and not found
    stream._put(7)
    client.join()
    assert found == [5] and [next(stream), next(stream)] == [6, 7]


def test_the_end_comes_before_all_that_are_expected():
    stream = stream_of()
    stream.expect(100)
    stream._put(5)
    stream._finish("eos")
    assert list(stream) == [5]


def test_a_question_comes_before_all_that_are_expected():
    stream, asked = stream_of(), []
    stream.request.layout.pull = lambda: asked.append(list(stream.tokens)) or stream._finish("eos")
    stream.expect(100)
    stream._put(5)
    assert stream._ask() and not stream._ask()
    assert list(stream) == [5] and asked == [[5]]


def test_tokens_that_are_there_are_given_without_waiting():
    stream = stream_of()
    for token in range(4):
        stream._put(token)
    assert stream._arrived.empty()
    stream.expect(2)
    assert [next(stream), next(stream)] == [0, 1]
    stream._finish("length")
    assert stream.result() == [0, 1, 2, 3] and next(stream, None) is None
