"""Runs forward proxies and a reverse proxy that others wrote: squid, tinyproxy, proxy.py and nginx."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.node_env import missing
from tests.support.ports import free_port
from tests.support.wait import wait_until

USER, PASSWORD = "ann", "s3cret"
SQUID_LOGIN = "/usr/lib/squid/basic_ncsa_auth"
SQUID = """\
http_port 127.0.0.1:{port}
auth_param basic program {login} {folder}/passwords
acl known proxy_auth REQUIRED
acl tunnel_ports port 443 {tunnel_port}
acl CONNECT method CONNECT
http_access deny CONNECT !tunnel_ports
http_access allow known
http_access deny all
cache deny all
shutdown_lifetime 0 seconds
pid_filename {folder}/squid.pid
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
coredump_dir {folder}
visible_hostname proxy.test
pinger_enable off
"""
TINYPROXY = """\
Port {port}
Listen 127.0.0.1
BasicAuth {user} {password}
ConnectPort 443
ConnectPort {tunnel_port}
LogFile "{folder}/access.log"
Timeout 60
MaxClients 50
"""
NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{
      proxy_pass {upstream}/;
      proxy_http_version 1.1;
      {options}
    }}
  }}
}}
"""
UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'


@contextmanager
def real_proxy(kind: str, folder: Path, tunnel_port: int = 443) -> Iterator[tuple[str, Path]]:
    """Run a proxy with a login. `tunnel_port`: port to which CONNECT is allowed in addition to 443; ignored if the
    proxy has no list of ports. Yields its address with the login, and its log of requests."""
    if kind == "squid" and os.getuid() == 0:
        with tempfile.TemporaryDirectory(prefix="stt-squid-") as shared:
            # squid changes to another user, which cannot enter the folders of pytest.
            Path(shared).chmod(0o777)
            with _proxy(kind, Path(shared), tunnel_port) as found:
                yield found
            return
    with _proxy(kind, folder, tunnel_port) as found:
        yield found


@contextmanager
def _proxy(kind: str, folder: Path, tunnel_port: int) -> Iterator[tuple[str, Path]]:
    port, log = free_port(), folder / "access.log"
    values = {"port": port, "folder": folder, "user": USER, "password": PASSWORD, "tunnel_port": tunnel_port}
    if kind == "proxy.py":
        command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", str(port), "--num-workers", "1"]
        command += ["--num-acceptors", "1", "--basic-auth", f"{USER}:{PASSWORD}", "--log-file", str(log)]
    elif kind == "squid":
        digest = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True)
        (folder / "passwords").write_text(f"{USER}:{digest.stdout.strip()}\n")
        (folder / "squid.conf").write_text(SQUID.format(login=SQUID_LOGIN, **values))
        command = [_found("squid"), "-N", "-f", str(folder / "squid.conf")]
    else:
        (folder / "tinyproxy.conf").write_text(TINYPROXY.format(**values))
        command = [_found("tinyproxy"), "-d", "-c", str(folder / "tinyproxy.conf")]
    with _running(command, port):
        yield f"http://{USER}:{PASSWORD}@127.0.0.1:{port}", log


@contextmanager
def nginx(folder: Path, upstream: str, options: str, prefix: str = "") -> Iterator[str]:
    """Run nginx in front of the server at `upstream`. `options`: directives of its location. Yields its address."""
    port = free_port()
    text = NGINX.format(port=port, folder=folder, prefix=prefix, upstream=upstream, options=options)
    (folder / "nginx.conf").write_text(text)
    with _running([_found("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], port):
        yield f"http://127.0.0.1:{port}{prefix}"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), f"{command[0]} listens", timeout_s=20)
        assert process.poll() is None, f"{command} ended"
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _found(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(f"{program} is not installed")
    return path


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
