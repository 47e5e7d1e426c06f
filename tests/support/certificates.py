"""Creates TLS certificates for tests with the `openssl` command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.node_env import missing


def certificate(folder: Path, host: str = "127.0.0.1") -> Path:
    """Create a self-signed certificate for `host`, an IP address or a name. Returns the path of a PEM file with the
    certificate and its key. Skips the test if `openssl` is not installed, or fails it if the environment has CI=true.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("the command openssl is not installed")
    path, key = folder / f"{host}.pem", folder / f"{host}.key"
    names = f"subjectAltName=IP:{host}" if host[0].isdigit() else f"subjectAltName=DNS:{host}"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={host}", "-addext", names, "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + key.read_text())
    return path
