"""API keys that no HTTP header can contain are refused as settings. The message contains no part of the key."""

from __future__ import annotations

import pytest

from worker.errors import SettingsError
from worker.settings import load

BAD = ["\n", "\r", "\r\n", "\t", "\x00", "\x7f", "\x85", "\u200b", "\u4f60", "\ufeff", "\U0001f511", "\u2019"]


@pytest.mark.parametrize("name", ["STT_API_KEY", "STT_SERVER_API_KEYS"])
@pytest.mark.parametrize("character", BAD)
@pytest.mark.parametrize("place", ["{0}secret", "sec{0}ret", "secret{0}"])
def test_such_a_key_is_refused(name: str, character: str, place: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        load({name: place.format(character)})
    assert "secret" not in str(caught.value)
    assert "a header cannot contain" in str(caught.value)


@pytest.mark.parametrize("key", ["sk-1234", "with space", "caf\xe9", "x" * 4000, "a,b"])
def test_other_keys_are_accepted(key: str) -> None:
    assert load({"STT_API_KEY": key}).api_key.get_secret_value() == key


def test_keys_of_the_server_may_be_on_several_lines() -> None:
    assert load({"STT_SERVER_API_KEYS": "first,\n second"}).server_api_keys.get_secret_value() == "first,\n second"
    with pytest.raises(SettingsError, match="line break"):
        load({"STT_SERVER_API_KEYS": "fir\nst,second"})
