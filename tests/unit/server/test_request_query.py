"""The query of a request is unambiguous or refused."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.server.request_query import EngineIoQuery, QueryRefused, parse_query


@pytest.mark.parametrize(
    ("raw", "transport", "sid"),
    [
        ("EIO=4&transport=polling", "polling", None),
        ("EIO=4&transport=websocket&t=abc", "websocket", None),
        ("EIO=4&transport=polling&sid=Ab_-9", "polling", "Ab_-9"),
        ("transport=websocket&sid=a", "websocket", "a"),
        # Names are case-sensitive.
        ("EIO=4&transport=polling&SID=a&Sid=b&Transport=websocket", "polling", None),
        ("EIO=4&transport=polling&%73id=a", "polling", "a"),
        ("EIO=4&transport=polling&x=%26sid%3Da&y=%26transport%3Dwebsocket", "polling", None),
    ],
)
def test_a_valid_query_is_parsed(raw: str, transport: str, sid: str | None) -> None:
    query = parse_query(raw)
    assert query == EngineIoQuery(transport, sid)
    assert parse_query(query.canonical) == query


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "EIO=4"),
        ("transport=polling", "EIO=4"),
        ("EIO=3&transport=polling", "EIO=4"),
        ("EIO=3&sid=a", "EIO=4"),
        ("EIO=4&EIO=3", "EIO more than once"),
        ("eio=4", "EIO=4"),
        ("EIO=4&sid=", "not a session id"),
        ("EIO=4&sid", "not a session id"),
        ("EIO=4&sid=%20", "not a session id"),
        ("EIO=4&sid=+", "not a session id"),
        ("EIO=4&sid=a%00", "not a session id"),
        ("EIO=4&sid=a%0A", "not a session id"),
        ("EIO=4&sid=a%26sid%3D", "not a session id"),
        ("EIO=4&sid=a;transport=websocket", "not a session id"),
        ("EIO=4;sid=a", "EIO=4"),
        ("EIO=4&sid=" + "a" * 65, "not a session id"),
        ("EIO=4&sid=ａ", "not a session id"),
        ("EIO=4&sid=a&sid=b", "sid more than once"),
        ("EIO=4&sid=&sid=b", "sid more than once"),
        ("EIO=4&sid=b&%73id=", "sid more than once"),
        ("EIO=4&transport=polling&transport=websocket", "transport more than once"),
        ("EIO=4", "transport"),
        ("EIO=4&Transport=polling", "transport"),
        ("EIO=4&transport=", "transport"),
        ("EIO=4&transport=WEBSOCKET", "transport"),
        ("EIO=4&transport=flashsocket", "transport"),
        ("EIO=4&transport=polling&j=0", "JSONP"),
        ("EIO=4&sid=%ff", "UTF-8"),
        ("EIO=4&%ff=1", "UTF-8"),
    ],
)
def test_a_query_with_two_meanings_is_refused(raw: str, reason: str) -> None:
    with pytest.raises(QueryRefused, match=reason):
        parse_query(raw)


NAMES = ["sid", "SID", "EIO", "4", "transport", "polling", "websocket", "%26", "%3D", "%73", "%2573"]
PIECES = st.lists(st.sampled_from([*"&=;%+?#/ a\x00", *NAMES]), max_size=24).map("".join)


@given(PIECES | PIECES.map(lambda text: f"EIO=4&transport=polling&{text}"))
def test_the_canonical_query_means_the_same_to_python_engineio(raw: str) -> None:
    try:
        query = parse_query(raw)
    except QueryRefused:
        return
    theirs = parse_qs(query.canonical)
    assert theirs["EIO"] == ["4"]
    assert theirs["transport"] == [query.transport]
    assert theirs.get("sid") == (None if query.sid is None else [query.sid])
