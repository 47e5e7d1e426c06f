"""Replaces the program valkey-cli where it is not installed: sends one command, or copies the data with `--rdb` as a
replica does. Uses only the standard library, so that it starts in milliseconds. Health checks run it repeatedly."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import IO

TIMEOUT_S = 30


def send(file: IO[bytes], *words: bytes) -> bytes:
    """Send a command. Returns the first line of the answer. Raises SystemExit for an error."""
    file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    file.flush()
    line = b"\n"
    while line == b"\n":  # the server sends empty lines while it prepares the copy
        line = file.readline()
    if not line or line.startswith(b"-"):
        raise SystemExit(line.decode().strip() or "the server closed the connection")
    return line.strip()


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-h", dest="host", default="127.0.0.1")
    parser.add_argument("-p", dest="port", type=int, required=True)
    parser.add_argument("--rdb")
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    try:
        connection = socket.create_connection((given.host, given.port), TIMEOUT_S)
    except OSError as exc:
        raise SystemExit(f"Could not connect: {exc}") from None
    with connection, connection.makefile("rwb") as file:
        if password := os.environb.get(b"REDISCLI_AUTH"):
            send(file, b"AUTH", password)
        if given.rdb is None:
            sys.stdout.write(send(file, *map(str.encode, given.words)).decode()[1:] + "\n")
            return
        size = int(send(file, b"SYNC")[1:])
        with open(given.rdb, "wb") as copy:  # noqa: PTH123  imports of pathlib cost as much as the rest
            copy.write(file.read(size))


if __name__ == "__main__":
    main()
