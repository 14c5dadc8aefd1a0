"""Who may come in."""

import pytest

from mamtra.errors import MamTraError
from mamtra.serve.keys import make_key, parse_keys
from mamtra.serve.settings import ServeSettings

SECRET, OTHER = "0123456789abcdef", "fedcba9876543210"


def speak(client, **headers):
    return client.post("/v1/audio/speech", json={"input": "one two"}, headers=headers).status_code


def test_keys(told):
    _, client = told(keys=(make_key(SECRET, "a"), make_key(OTHER, "b")))
    for headers in (
        {"authorization": f"Bearer {SECRET}"}, {"authorization": f"bearer {OTHER}"}, {"xi-api-key": OTHER},
    ):  # fmt: skip
        assert speak(client, **headers) == 200
    for headers in (
        {}, {"authorization": "Bearer wrong"}, {"authorization": SECRET}, {"authorization": f"Basic {SECRET}"},
        {"xi-api-key": SECRET[:-1]}, {"xi-api-key": ""}, {"authorization": "Bearer"}, {"authorization": b"Bearer \xff"},
    ):  # fmt: skip
        assert speak(client, **headers) == 401
    answer = client.post("/v1/audio/speech", json={})
    assert answer.json()["error"]["code"] == "invalid_api_key" and answer.headers["www-authenticate"] == "Bearer"
    for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/audio/voices", "/nothing"):
        assert client.get(path).status_code == 401
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200


def test_pages_of_other_hosts_may_not_speak(told):
    _, client = told(origins=("https://example.org",))
    own = f"http://127.0.0.1:{client.base_url.port}"
    assert speak(client, origin=own) == speak(client, origin="https://example.org") == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "http://[", ""):
        assert speak(client, origin=origin) == 403


def test_a_page_that_is_let_in_may_read_the_answer(told):
    _, client = told(origins=("https://example.org",), keys=(make_key(SECRET),))
    headers = {"origin": "https://example.org", "access-control-request-method": "POST"}
    asked = client.options("/v1/audio/speech", headers={**headers, "access-control-request-headers": "authorization"})
    assert asked.status_code == 200 and asked.headers["access-control-allow-origin"] == "https://example.org"
    answer = client.post("/v1/audio/speech", json={"input": "one"}, headers={**headers, "xi-api-key": SECRET})
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert "X-Seed" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in client.get("/", headers={"origin": "https://evil.example"}).headers


def test_names_that_point_to_this_machine_are_not_enough(told):
    _, client = told()
    for host in ("evil.example", "evil.example:8000", "", "[", "8.8.8.8"):
        assert speak(client, host=host) in (400, 403)
    for host in ("localhost", "localhost:1", "127.0.0.1", "[::1]:8000"):
        assert speak(client, host=host) == 200


def test_every_answer_has_a_number(client):
    numbers = {client.get(path).headers["x-request-id"] for path in ("/health/live", "/nothing", "/v1/models")}
    assert len(numbers) == 3


def test_a_file_of_keys():
    keys = parse_keys(f"# people\nann {SECRET}\n\nbob {OTHER} 3  # three\n", "keys.txt")
    assert [(key.name, key.streams) for key in keys] == [("ann", None), ("bob", 3)]
    assert SECRET not in repr(keys)
    for text in (
        "",
        "ann",
        f"ann {SECRET} x",
        f"ann {SECRET} 0",
        f"ann {SECRET}\nann {OTHER}",
        "ann short",
        f"a b c {SECRET}",
    ):
        with pytest.raises(MamTraError):
            parse_keys(text, "keys.txt")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_others_are_let_in_with_a_key_or_on_purpose(host):
    with pytest.raises(MamTraError, match="reachable from other machines"):
        ServeSettings(host=host).check_reach()
    ServeSettings(host=host, keys=(make_key(SECRET),)).check_reach()
    ServeSettings(host=host, open_to_all=True).check_reach()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_this_machine_needs_no_key(host):
    ServeSettings(host=host).check_reach()
