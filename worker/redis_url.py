"""Parses the address of Redis (STT_REDIS_URL). No I/O.

The ledger (redis-py) and the queue (kombu, Celery) get their connection options from the same parsed address. Without
this module, each of the two libraries would parse the URL by its own rules: redis-py accepts `?db=3` and ignores a path
that is not a number, while kombu raises TypeError for every option that it does not know.

| form                                        | meaning                                                               |
|---------------------------------------------|-----------------------------------------------------------------------|
| `redis://user:password@host:port/db`        | one server; `valkey://` means the same                                |
| `rediss://…`, `valkeys://…`                 | one server, over TLS                                                  |
| `unix://user:password@/path?db=0`           | a Unix socket; `redis+socket://` means the same                       |
| `sentinel://user:password@host:port,…/NAME/db` | the primary that the Sentinels report for NAME                     |
| `sentinels://…`                             | the same; Sentinels and servers use TLS                               |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
MAX_SENTINELS: Final = 32
_SCHEMES: Final = {
    **{"redis": ("redis", False), "valkey": ("redis", False), "rediss": ("redis", True), "valkeys": ("redis", True)},
    **{"unix": ("unix", False), "redis+socket": ("unix", False)},
    **{"sentinel": ("sentinel", False), "sentinels": ("sentinel", True)},
}
"""Each known scheme: the field `scheme` of RedisAddress, and whether the connections use TLS."""
_SENTINEL_LIKE: Final = re.compile(r"(rediss?|valkeys?)[-+]sentinel|sentinel[-+](tls|ssl)")
_CLUSTER_LIKE: Final = re.compile(r"(rediss?|valkeys?)[-+]cluster|cluster")
_HOST: Final = re.compile(r"[^\s/@:?#\[\],]+")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
_ENCODE: Final = (
    "special characters of user and password must be percent-encoded (@ as %40, / as %2F, ? as %3F, # as %23)"
)
_FORMS: Final = (
    "use redis://user:password@host:6379/0, rediss:// (TLS), unix:///path?db=0 or "
    "sentinel://host:26379,host:26379/NAME/0"
)
CLUSTER_UNSUPPORTED: Final = "Redis Cluster is not supported: use one Redis or Valkey server, or Sentinel (sentinel://)"
SENTINEL_AS_REDIS: Final = "a Sentinel is not a Redis server: use sentinel://host:port,host:port/NAME/0"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A parsed address. Its text forms (`repr`, `shown`) contain neither a password nor a user."""

    scheme: str
    """One of `redis`, `unix` and `sentinel`."""
    hosts: tuple[tuple[str, int], ...]
    """Host and port of the server, or of each Sentinel; empty for a Unix socket."""
    db: int = 0
    tls: bool = False
    path: str = ""
    """Path of the Unix socket."""
    master: str = ""
    """Name of the primary, as the Sentinels know it."""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of the query for connections to servers, as keyword arguments of redis-py."""
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)
    """`username` and `password` for the Sentinels; empty if they require none."""

    @property
    def shown(self) -> str:
        """The address without login and query."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        scheme = f"{self.scheme}s" if self.tls else self.scheme
        name = f"/{quote(self.master, safe='')}" if self.master else ""
        return f"{scheme}://{','.join(map(_netloc, self.hosts))}{name}/{self.db}"

    @property
    def login(self) -> str:
        """User and password in the form for a URL, with the final `@`; empty without a password."""
        if self.password is None and self.username is None:
            return ""
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"{quote(self.username or '', safe='')}{password}@"

    def server_options(self) -> dict[str, Any]:
        """Return keyword arguments of redis-py for connections to a server, without the address of the server."""
        made = {"db": self.db, "username": self.username, "password": self.password, **self.options}
        unused = ("socket_keepalive", "socket_connect_timeout") if self.scheme == "unix" else ()
        return {name: value for name, value in made.items() if value is not None and name not in unused}

    def sentinel_options(self) -> dict[str, Any]:
        """Return keyword arguments of redis-py for connections to the Sentinels, without their addresses."""
        shared = {name: value for name, value in self.options.items() if name in _OF_SENTINELS}
        return {**shared, **self.sentinel_login, **({"ssl": True} if self.tls else {})}

    def __json__(self) -> str:
        """Return the text that kombu sends instead of this object, in answers to Celery's remote control."""
        return self.shown


def check_redis_url(text: str) -> str:
    """Return the value of STT_REDIS_URL without surrounding spaces. Raises ValueError with the reason."""
    parse_redis_url(text)
    return text.strip()


def parse_redis_url(text: str) -> RedisAddress:
    """Parse a value of STT_REDIS_URL. Raises ValueError with the reason, which never contains a password."""
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _SCHEMES:
        raise ValueError(_wrong_scheme(scheme if separator else ""))
    if any(c.isspace() or not c.isprintable() for c in rest):
        raise ValueError("must not contain spaces or control characters; percent-encode them")
    rest, hash_sign, _ = rest.partition("#")
    rest, _, query = rest.partition("?")
    place, slash, path = rest.partition("/")
    if hash_sign or ("@" in path + query and "@" not in place):
        raise ValueError(f"the address of Redis cannot be read: {_ENCODE}")
    login, _, place = place.rpartition("@")
    kind, tls = _SCHEMES[scheme]
    given = _query(query, kind, tls)
    username, password = _login(login, given)
    made = RedisAddress(
        scheme=kind,
        hosts=() if kind == "unix" else _hosts(place, kind),
        tls=tls,
        username=username,
        password=password,
        sentinel_login={
            name.removeprefix("sentinel_"): given.pop(name) for name in _LOGIN_OF_SENTINELS if name in given
        },
    )
    return _with_path(made, place, unquote(f"{slash}{path}"), given)


def _with_path(made: RedisAddress, place: str, path: str, given: dict[str, Any]) -> RedisAddress:
    """Return `made` with the socket, name of the primary and database that `path` names, and the options `given`."""
    named, master = given.pop("db", None), ""
    if made.scheme == "unix":
        if place or len(path) < 2:
            raise ValueError("the path of the Unix socket must be absolute: unix:///run/redis.sock?db=0")
        return replace(made, path=path, db=named or 0, options=given)
    parts = path.removeprefix("/").removesuffix("/")
    if made.scheme == "sentinel":
        master, _, parts = parts.partition("/")
        if not master:
            raise ValueError("names no primary: use sentinel://host:26379,host:26379/NAME/0")
    database = _database(parts) if parts else None
    if database is not None and named is not None and database != named:
        raise ValueError(f"names two databases, {database} in the path and {named} in `db`")
    return replace(made, master=master, db=database if database is not None else named or 0, options=given)


def _wrong_scheme(scheme: str) -> str:
    if _CLUSTER_LIKE.fullmatch(scheme):
        return CLUSTER_UNSUPPORTED
    if _SENTINEL_LIKE.fullmatch(scheme):
        return f"{scheme}:// is not supported: use sentinel://host:26379,host:26379/NAME/0, or sentinels:// (TLS)"
    named = f"{scheme}:// is" if re.fullmatch(r"[a-z][a-z0-9+.-]{0,30}", scheme) else "the value is"
    return f"{named} not an address of Redis: {_FORMS}"


def _hosts(place: str, kind: str) -> tuple[tuple[str, int], ...]:
    """Parse `host:port`, or the comma-separated list of the Sentinels."""
    default = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    texts = place.split(",")
    if len(texts) > 1 and kind != "sentinel":
        raise ValueError("names several hosts: only sentinel://host:port,host:port/NAME/0 may have more than one")
    if len(texts) > MAX_SENTINELS:
        raise ValueError(f"names more than {MAX_SENTINELS} Sentinels")
    if kind == "redis" and not place.partition(":")[0]:
        texts = [f"localhost{place}"]
    return tuple(dict.fromkeys(_host(text, default) for text in texts))


def _host(text: str, default_port: int) -> tuple[str, int]:
    name, bracket, port = text.partition("]")
    if bracket:
        host, ipv6 = unquote(name.removeprefix("[")), True
        name_ok = name.startswith("[") and port[:1] in ("", ":")
        port = port.removeprefix(":")
    else:
        (name, _, port), ipv6 = text.partition(":"), False
        host, name_ok = unquote(name), ":" not in port
    if not name_ok or not (_IPV6 if ipv6 else _HOST).fullmatch(host):
        raise ValueError("its host cannot be read; an IPv6 address is written in brackets: redis://[::1]:6379/0")
    if not port:
        return host, default_port
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:9]) <= 65535):
        raise ValueError("its port must be a number from 1 to 65535")
    return host, int(port)


def _login(text: str, given: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return user and password from the part before `@`, or from the query."""
    user, separator, word = text.partition(":")
    username, password = unquote(user) or None, unquote(word) if separator and word else None
    in_query = given.pop("username", None), given.pop("password", None)
    if any(in_query) and (username or password):
        raise ValueError("has a login both before the host and in the query")
    username, password = (username, password) if username or password else in_query
    return username, password


def _query(text: str, kind: str, tls: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        option = "db" if name == "virtual_host" and kind == "unix" else name
        if option not in _OPTIONS:
            shown = f"`{name}`" if re.fullmatch(r"[a-z_]{1,40}", name) else "of its query"
            raise ValueError(f"the option {shown} is not supported; supported are {', '.join(sorted(_OPTIONS))}")
        if option in found:
            raise ValueError(f"has the option `{name}` twice")
        if option.startswith("ssl_") and not tls:
            raise ValueError(f"the option `{name}` needs TLS: use rediss:// or sentinels://")
        if option.startswith("sentinel_") and kind != "sentinel":
            raise ValueError(f"the option `{name}` needs sentinel://")
        try:
            found[option] = _OPTIONS[option](value)
        except ValueError as exc:
            raise ValueError(f"the option `{name}` {exc}") from None
    if found.get("ssl_cert_reqs") == "none":
        found.setdefault("ssl_check_hostname", False)  # a host name is in the certificate, which is not checked
    return found


def _database(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 7):
        raise ValueError("the database must be a whole number such as 0, at the end: redis://host:6379/0")
    return int(value)


def _protocol(value: str) -> int:
    if value not in ("2", "3"):
        raise ValueError("must be 2 or 3")
    return int(value)


def _number_from(least: float, most: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            number = kind(value)
        except ValueError:
            number = kind(least) - 1
        if not least <= number <= most:
            raise ValueError(f"must be a number of seconds from {least:g} to {most:g}")
        return number

    return parse


def _truth(value: str) -> bool:
    if (lower := value.lower()) in ("true", "1", "yes", "on"):
        return True
    if lower in ("false", "0", "no", "off"):
        return False
    raise ValueError("must be true or false")


def _certificate(value: str) -> str:
    found = value.lower().removeprefix("cert_")
    if found not in ("none", "optional", "required"):
        raise ValueError("must be required, optional or none")
    return found


def _name(value: str) -> str:
    # The rule of CLIENT SETNAME.
    if not re.fullmatch(r"[!-~]{1,128}", value):
        raise ValueError("must be 1 to 128 printable ASCII characters without spaces")
    return value


def _text(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


_SECONDS: Final = _number_from(1, 3600, float)
_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "db": _database,
    "username": _text,
    "password": _text,
    "protocol": _protocol,
    "client_name": _name,
    "socket_timeout": _SECONDS,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _truth,
    "health_check_interval": _number_from(0, 3600, int),
    "ssl_cert_reqs": _certificate,
    "ssl_check_hostname": _truth,
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"), _text),
    "sentinel_username": _text,
    "sentinel_password": _text,
}
_LOGIN_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_OF_SENTINELS: Final = frozenset(
    name for name in _OPTIONS if name.startswith(("ssl_", "socket_")) or name in ("protocol", "client_name")
)
"""Options that also apply to connections to the Sentinels."""


def _netloc(place: tuple[str, int]) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


__all__ = [
    "CLUSTER_UNSUPPORTED",
    "REDIS_PORT",
    "SENTINEL_AS_REDIS",
    "SENTINEL_PORT",
    "RedisAddress",
    "check_redis_url",
    "parse_redis_url",
]
