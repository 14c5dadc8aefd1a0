"""Lists, health and the OpenAPI document."""


def test_lists_as_open_webui_reads_them(client):
    voices = client.get("/v1/audio/voices").json()["voices"]
    assert {"id", "name"} <= set(voices[0]) and "tiny" in [voice["id"] for voice in voices]
    assert next(voice for voice in voices if voice["id"] == "alloy")["alias_of"] == "tiny"
    assert client.get("/v1/audio/models").json()["models"][0]["id"] == "tiny-model"


def test_a_model_tells_its_layers(client):
    listed = client.get("/v1/models").json()["data"][0]
    assert listed == client.get("/v1/models/tiny-model").json() and listed["id"] == "tiny-model"
    assert set(listed["layers"]) == {"attention", "mamba2"}


def test_an_early_connection(client):
    for path in ("/v1/", "/v1"):
        assert client.get(path).json()["name"] == "mamtra"


def test_health(client):
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready", "model": "tiny-model", "voices": 1}


def test_the_openapi_document(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    speech = document["paths"]["/v1/audio/speech"]["post"]
    assert "422" not in speech["responses"] and {"200", "400", "401", "503"} <= set(speech["responses"])
    examples = speech["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        assert client.post("/v1/audio/speech", json={**example["value"], "voice": "tiny"}).status_code == 200
    assert client.get("/docs").status_code == 404  # the page of the framework loads scripts from elsewhere
