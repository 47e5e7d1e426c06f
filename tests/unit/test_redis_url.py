"""STT_REDIS_URL: each form means the same for the ledger (redis-py) and the queue (kombu), or is refused by both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kombu.utils.json import dumps

from tasks.app import make_app
from tasks.broker.kombu_transport import CheckedChannel, CheckedSentinelChannel
from worker.errors import SettingsError
from worker.ledger.connection import RedisConnection
from worker.redis_url import parse_redis_url
from worker.settings import load

TLS = {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}
ACCEPTED: dict[str, dict[str, Any]] = {
    "redis://h:1/2": {"host": "h", "port": 1, "db": 2},
    "redis://h": {"host": "h", "port": 6379, "db": 0},
    "redis://h/": {"host": "h", "db": 0},
    "REDIS://h/1/": {"db": 1},
    " redis://h/1\n": {"host": "h", "db": 1},
    "redis://": {"host": "localhost", "port": 6379},
    "redis://:99/1": {"host": "localhost", "port": 99, "db": 1},
    "redis://h?db=3": {"db": 3},
    "redis://h/3?db=3": {"db": 3},
    "redis://h?protocol=2": {"protocol": 2},
    "redis://h?protocol=3": {"protocol": 3},
    "redis://h?socket_timeout=5": {"socket_timeout": 5.0},
    "redis://h?socket_connect_timeout=2.5&socket_keepalive=false": {
        "socket_connect_timeout": 2.5,
        "socket_keepalive": False,
    },
    "redis://h?health_check_interval=7": {"health_check_interval": 7},
    "redis://h?client_name=transcripts-1": {"client_name": "transcripts-1"},
    "redis://:p%40%2F%3F%23%25@h": {"password": "p@/?#%"},
    "redis://user:word@h": {"username": "user", "password": "word"},
    "redis://us%3Aer:a:b@h": {"username": "us:er", "password": "a:b"},
    "redis://nopass@h": {"username": "nopass"},
    "redis://h?username=user&password=w%2Bord": {"username": "user", "password": "w+ord"},
    "redis://[::1]:7/1": {"host": "::1", "port": 7, "db": 1},
    "redis://[fe80::1%25eth0]": {"host": "fe80::1%eth0"},
    "valkey://h:1/2": {"host": "h", "port": 1, "db": 2},
    "rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem": TLS,
    "valkeys://h?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=%2Fca.pem": TLS,
    "rediss://h?ssl_cert_reqs=none": {"ssl_cert_reqs": "none", "ssl_check_hostname": False},
    "rediss://h?ssl_certfile=/c&ssl_keyfile=/k": {"ssl_certfile": "/c", "ssl_keyfile": "/k"},
    "unix:///run/r.sock": {"path": "/run/r.sock", "db": 0},
    "unix:///run/r.sock?db=3": {"path": "/run/r.sock", "db": 3},
    "unix://user:p%40@/run/my%20r.sock": {"path": "/run/my r.sock", "username": "user", "password": "p@"},
    "redis+socket:///run/r.sock?virtual_host=4": {"path": "/run/r.sock", "db": 4},
    "sentinel://user:word@a:1,b/main/3?client_name=x": {
        **{"db": 3, "username": "user", "password": "word", "client_name": "x"},
    },
    "sentinels://a/main?ssl_ca_certs=/ca.pem": {"db": 0, "ssl_ca_certs": "/ca.pem"},
}
REFUSED = {
    "redis://h/abc": "whole number",
    "redis://h/1/2": "whole number",
    "redis://h/-1": "whole number",
    "redis://h/１": "whole number",
    "redis://h?db=x": "whole number",
    "redis://h/1?db=2": "two databases",
    "redis://h?db=1&db=1": "twice",
    "redis://h?protocol=4": "2 or 3",
    "redis://h?socket_timeout=soon": "number of seconds",
    "redis://h?socket_timeout=0": "number of seconds",
    "redis://h?socket_timeout=nan": "number of seconds",
    "redis://h?client_name=a%20b": "printable ASCII",
    "redis://h?max_connections=5": "`max_connections` is not supported; supported are",
    "redis://h?retry_on_timeout=true": "`retry_on_timeout` is not supported",
    "redis://h?visibility_timeout=5": "not supported",
    "redis://h?ssl_ca_certs=/ca.pem": "needs TLS",
    "redis://h?sentinel_password=x": "needs sentinel://",
    "redis://u:p@h?password=q": "a login both",
    "redis://h:0": "from 1 to 65535",
    "redis://h:65536": "from 1 to 65535",
    "redis://h:port": "from 1 to 65535",
    "redis://::1": "in brackets",
    "redis://a,b": "several hosts",
    "redis://h h": "spaces",
    "redis://:p#word@h": "percent-encoded",
    "redis://:p/word@h": "percent-encoded",
    "redis://:p?word@h": "percent-encoded",
    "unix://run/r.sock": "absolute",
    "unix://": "absolute",
    "sentinel://a:1": "names no primary",
    "sentinel:///main": "host cannot be read",
    "sentinel://a,,b/main": "host cannot be read",
    "redis-sentinel://a/0#main": "use sentinel://host:26379,host:26379/NAME/0",
    "rediss+sentinel://a": "use sentinel://",
    "redis+cluster://a": "Redis Cluster is not supported",
    "http://h": "http:// is not an address of Redis",
    "amqp://h": "not an address of Redis",
    "h:6379": "not an address of Redis",
    "redis:/h": "not an address of Redis",
}


def of_the_ledger(url: str) -> dict[str, Any]:
    return dict(RedisConnection(url)._redis.connection_pool.connection_kwargs)


def of_the_ledger_class(url: str) -> str:
    return RedisConnection(url)._redis.connection_pool.connection_class.__name__


def of_the_queue(url: str) -> dict[str, Any]:
    """Return the connection options that kombu passes to redis-py."""
    connection = make_app(load({}, redis_url=url)).connection_for_write()
    kind: Any = CheckedSentinelChannel if url.startswith("sentinel") else CheckedChannel
    channel = object.__new__(kind)
    channel.connection = connection.transport
    for name, value in connection.transport_options.items():
        if name in kind.from_transport_options:
            setattr(channel, name, value)
    return dict(channel._connparams())


@pytest.mark.parametrize("url", ACCEPTED)
def test_every_form_means_the_same_for_producers_and_workers(url: str) -> None:
    expected, ledger, queue = ACCEPTED[url], of_the_ledger(url), of_the_queue(url)
    assert {name: ledger.get(name) for name in expected} == expected
    assert {name: queue.get(name) for name in expected} == expected
    for name in ("db", "username", "password", "protocol", "client_name", "path"):
        assert ledger.get(name) == queue.get(name), name
    classes = of_the_ledger_class(url), queue["connection_class"].__name__
    encrypted = url.startswith(("rediss", "valkeys", "sentinels"))
    assert [name.endswith("SSLConnection") for name in classes] == [encrypted, encrypted]


@pytest.mark.parametrize("url", REFUSED)
def test_every_other_form_is_refused_by_all_in_one_sentence(url: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load({}, redis_url=url)
    assert str(refusal.value).startswith("STT_REDIS_URL: ")
    assert REFUSED[url] in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "word" not in str(refusal.value).replace("password", ""), "no part of a password is shown"
    with pytest.raises(SettingsError, match="STT_REDIS_URL"):
        RedisConnection(url)


def test_no_text_form_of_an_address_shows_a_login() -> None:
    address = parse_redis_url("sentinels://user:secret@a:1,[::1]/main/2?sentinel_password=hidden&ssl_password=private")
    for text in (repr(address), address.shown, dumps({"redis_address": address})):
        assert not any(word in text for word in ("user", "secret", "hidden", "private")), text
    assert json.loads(dumps(address)) == "sentinels://a:1,[::1]:26379/main/2"


def test_sentinels_have_a_login_of_their_own() -> None:
    url = "sentinels://user:word@a/main?sentinel_username=watcher&sentinel_password=eye&ssl_ca_certs=/ca.pem&socket_timeout=2"
    expected = {"username": "watcher", "password": "eye", "ssl": True, "ssl_ca_certs": "/ca.pem", "socket_timeout": 2.0}
    assert parse_redis_url(url).sentinel_options() == expected
    plain = parse_redis_url("sentinel://user:word@a/main")
    assert plain.sentinel_options() == {}, "the login of Redis is not sent to the Sentinels"
