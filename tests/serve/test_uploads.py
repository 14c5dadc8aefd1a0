"""Voices that are added and removed."""

import concurrent.futures

import pytest

from tests.factories import reference


def upload(client, name, content, **fields):
    data = {"name": name, "consent": "It is my own voice.", **fields}
    return client.post("/v1/audio/voices", data=data, files={"audio_sample": ("a.wav", content, "audio/wav")})


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return reference(tmp_path_factory.mktemp("recording") / "me.wav").read_bytes()


def ids(client):
    return [each["id"] for each in client.get("/v1/audio/voices").json()["voices"]]


def test_a_voice_is_added_spoken_with_and_removed_while_the_server_runs(client, recording):
    answer = upload(client, "me", recording, ref_text="Hello there.", description="mine")
    assert answer.status_code == 201, answer.text
    about = answer.json()
    assert about["id"] == about["name"] == "me" and about["description"] == "mine" and about["seconds"] > 1
    assert "me" in ids(client)
    assert client.post("/v1/audio/speech", json={"input": "Hello.", "voice": "me"}).status_code == 200
    assert client.request("DELETE", "/v1/audio/voices/me").json() == {
        "id": "me",
        "object": "audio.voice",
        "deleted": True,
    }
    assert "me" not in ids(client)
    assert client.post("/v1/audio/speech", json={"input": "Hello.", "voice": "me"}).status_code == 400


@pytest.mark.parametrize("name", ["tiny", "alloy"])
def test_a_name_that_is_taken(client, recording, name):
    answer = upload(client, name, recording)
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "name_taken"


@pytest.mark.parametrize("name", ["../me", "a/b", "", "a b", "con", "x" * 65, ".hidden", "ü"])
def test_a_name_that_cannot_be_one(client, recording, name):
    answer = upload(client, name, recording)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "name"


def test_consent_is_needed(client, recording):
    for consent in ("", "  "):
        answer = upload(client, "me", recording, consent=consent)
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "consent"


def test_two_uploads_of_one_name_at_once_leave_one_voice(client, recording):
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: upload(client, "twice", recording).status_code, range(4)))
    assert sorted(answers) == [201, 409, 409, 409]
    client.request("DELETE", "/v1/audio/voices/twice")


def test_a_voice_of_the_model_stays(client):
    answer = client.request("DELETE", "/v1/audio/voices/tiny")
    assert answer.status_code == 403 and "tiny" in ids(client)


def test_uploads_may_be_off(told, recording):
    _, client = told(uploads=False)
    assert upload(client, "me", recording).status_code == 403
    assert client.request("DELETE", "/v1/audio/voices/tiny").status_code == 403


def test_not_more_than_so_many(told, recording):
    _, client = told(most_voices=0)
    assert upload(client, "me", recording).json()["error"]["code"] == "too_many_voices"
