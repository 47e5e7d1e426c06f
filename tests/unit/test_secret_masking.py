"""Secrets of the settings and the environment are masked in every form in which others may echo them."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SettingsError
from worker.realtime.message_masking import mask_message
from worker.realtime.messages import CLOSED, ERROR, TRANSCRIPT, parse
from worker.secret_masking import MASK, Masker, secrets_of, show_url
from worker.settings import load

KEY = 'sk_live-7f3a9c2e1b/+="q'
MASKER = Masker([KEY])


def found(environ: dict[str, str] | None = None, **settings: str) -> set[str]:
    return set(secrets_of(load({}, **settings), environ or {}))


def test_secrets_of_the_settings() -> None:
    known = found(
        api_key="first-key",
        server_api_keys="one-key, two-key,abc",
        webhook_secret="whsec_abcdefghijklmnopqrstuvwxyz012345",
        redis_url="redis://:pass%2Fword@queue/0",
        url="https://ann:hunter22@host/prefix",
        s3_endpoint="http://u:s3pass@store",
    )
    assert {"first-key", "one-key", "two-key", "pass%2Fword", "pass/word", "hunter22", "s3pass"} <= known
    assert {"proxy pass", "cHJveHl1c2VyOnByb3h5IHBhc3M="} <= found(proxy="proxyuser:proxy%20pass@proxy:3128")
    assert "token-as-user" in found(url="https://token-as-user@host")
    assert base64.b64encode(b"ann:hunter22").decode() in known
    assert "abc" not in known, "three characters would mask parts of words"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("AWS_SECRET_ACCESS_KEY", "aws/secret+key", "aws/secret+key"),
        ("AWS_SESSION_TOKEN", "aws-session", "aws-session"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "azure==key", "azure==key"),
        ("AZURE_STORAGE_KEY", "azure-key", "azure-key"),
        ("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=signature1", "signature1"),
        ("AZURE_STORAGE_SAS_KEY", "?sv=1&sig=signature2", "signature2"),
        ("AZURE_CLIENT_SECRET", "client-secret", "client-secret"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=connkey==;X=y", "connkey=="),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", '{"private_key": "-----BEGIN-abc"}', "-----BEGIN-abc"),
        ("HTTPS_PROXY", "http://ann:pr0xy%40pass@proxy:3128", "pr0xy@pass"),
        ("http_proxy", "http://ann:lower-pass@proxy:3128", "lower-pass"),
        ("ALL_PROXY", "socks5://ann:socks-pass@proxy", "socks-pass"),
        ("HTTPS_PROXY", "ann:no-scheme-pass@proxy:3128", "no-scheme-pass"),
        ("https_proxy", "http://token-as-user@proxy:3128", "token-as-user"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20otlp-token,x-team=blue-team", "otlp-token"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=otlp-key", "otlp-key"),
        ("HF_TOKEN", "hub-token", "hub-token"),
        ("REDISCLI_AUTH", "valkey-pass", "valkey-pass"),
        ("GRAFANA_PASSWORD", "grafana-pass", "grafana-pass"),
    ],
)
def test_secrets_of_the_environment(name: str, value: str, secret: str) -> None:
    assert secret in found({name: value})
    text = Masker(found({name: value})).text(f"refused: {secret} at {value}")
    assert secret not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STT_API_KEY_FILE", "/run/secrets/api_key"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("PATH", "/usr/bin"),
        ("STT_URL", "https://cantonese.ai"),
        ("KEYBOARD", "qwerty"),
    ],
)
def test_ordinary_variables_are_not_secrets(name: str, value: str) -> None:
    assert found({name: value}) == found({})


@pytest.mark.parametrize("form", [KEY, json.dumps(KEY)[1:-1], quote(KEY, safe="")])
def test_a_secret_is_masked_in_each_form(form: str) -> None:
    assert MASKER.text(f"key {form}, again {form}") == f"key {MASK}, again {MASK}"


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (ERROR, {"error": f"auth_error: {KEY}"}),
        (ERROR, f"bad key {KEY}"),
        (CLOSED, {"code": 1008, "reason": f"key {KEY}"}),
        (TRANSCRIPT, {"message_type": "partial_transcript", "text": f"your key is {KEY}"}),
        (TRANSCRIPT, {"message_type": "committed_transcript", "text": f"your key is {KEY}"}),
        (
            TRANSCRIPT,
            {
                "message_type": "committed_transcript_with_timestamps",
                "text": KEY,
                "words": [{"text": KEY, "start": 0, "end": 1, "type": "word"}],
            },
        ),
        (TRANSCRIPT, {"message_type": "session_started", "session_id": KEY, "config": {"model_id": KEY, "n": 1}}),
        (TRANSCRIPT, {"message_type": "quota_exceeded", "error": KEY}),
        (TRANSCRIPT, {"message_type": f"strange_{KEY}"}),
        (f"event-{KEY}", None),
    ],
)
def test_an_echoed_key_is_masked_where_it_enters(event: str, payload: object) -> None:
    message = mask_message(parse(event, payload), MASKER)
    assert KEY not in repr(message)
    assert MASK in repr(message)


@pytest.mark.parametrize("key", ["secret", "local-only", "administrator", "the meeting"])
def test_speakable_secrets_are_not_masked_in_speech(key: str) -> None:
    """A key that is a word must not mask that word in transcripts. Errors are masked nevertheless."""
    text = {"message_type": "committed_transcript", "text": f"tell me {key} please"}
    assert key in repr(mask_message(parse(TRANSCRIPT, text), Masker([key])))
    assert key not in repr(mask_message(parse(ERROR, {"error": f"wrong {key}"}), Masker([key])))


@given(st.text(max_size=80))
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    if KEY not in text:
        assert MASKER.text(text) == text
    assert Masker([]).text(text) == text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://cantonese.ai", "https://cantonese.ai"),
        ("https://ann:pa@ss@host:8443/a/b?key=1#x", "https://host:8443/a/b"),
        ("wss://ann@host", "wss://host"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host?x=a@b/c", "http://host"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_user_and_query(url: str, shown: str) -> None:
    assert show_url(url) == shown


def test_a_long_address_in_the_environment_is_parsed_quickly() -> None:
    began = time.thread_time()
    secrets_of(load({}), {"NAMES": "http://u:" + "p:" * 100_000, "OTHER": "a+." * 60_000 + "://"})
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    ("query", "secret"),
    [
        ("token=queryPASS1", "queryPASS1"),
        ("a=b&api_key=letters", "letters"),
        ("sig=a%2Fb%2Bcd", "a/b+cd"),
        ("x=8f3kd93jd83k", "8f3kd93jd83k"),
        ("access-token=top+secret", "top secret"),
    ],
)
def test_a_secret_in_the_query_of_the_service_is_masked(query: str, secret: str) -> None:
    masker = Masker(secrets_of(load({}, url=f"https://stt.example/a?{query}"), {}))
    assert secret not in masker.text(f"cannot connect to https://stt.example/a?{query}: {secret}")
    assert query.rpartition("=")[2] not in masker.text(f"https://stt.example/a?{query}")


def test_ordinary_values_in_the_query_of_the_service_are_not_secrets() -> None:
    assert secrets_of(load({}, url="https://stt.example/?region=asia&vad=true&model=large"), {}) == ()


@pytest.mark.parametrize("url", ["http://user:secretPASS1", "https://a:secretPASS1", "ws://user:secretPASS1/path"])
def test_a_password_in_place_of_the_port_is_not_quoted(url: str) -> None:
    with pytest.raises(SettingsError, match="the port must be a number") as caught:
        load({"STT_URL": url})
    assert "secretPASS1" not in str(caught.value)
