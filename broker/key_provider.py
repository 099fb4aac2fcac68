"""Keys that are kept by somebody else: a program, or a service over HTTP, is asked for each once, at start.

A hardware module, a cloud's KMS or a vault is reached through one of the two: a few lines of shell around its own client, or its own
address. It gives the key itself: a release opens a patient's key and cannot wait for a network each time. PKCS#11 can be a third kind.
"""

from __future__ import annotations

import ipaddress
import shlex
import subprocess
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from broker.settings import Settings

TIMEOUT_SECONDS = 15.0
#: No secret is longer: a few keys in PEM form.
MAX_BYTES = 64 * 1024
#: By which a program says that it has no such secret.
EXIT_UNKNOWN = 3


class ProviderFailed(Exception):
    """The provider of keys did not answer as it should. Names the secret, and never what came."""


class KeyProvider(Protocol):
    """Where keys come from."""

    def secret(self, name: str) -> bytes | None:
        """The secret of that name (``key-encryption``, ``blinding``, ``token-signing``, ``log-signing``), or None where there is none.

        Raises ProviderFailed; a broker without its keys does not start.
        """


class CommandProvider:
    """Runs a program with the secret's name as its last argument; what it prints is the secret."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def secret(self, name: str) -> bytes | None:
        """What the program prints; None when it ends with 3."""
        try:
            done = subprocess.run([*self._command, name], capture_output=True, timeout=TIMEOUT_SECONDS, check=False)  # noqa: S603  (the operator's own program, from the settings)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProviderFailed(f"{name}: the program of BROKER_KEY_PROVIDER did not run ({type(error).__name__})") from error
        if done.returncode == EXIT_UNKNOWN:
            return None
        if done.returncode != 0 or not done.stdout.strip() or len(done.stdout) > MAX_BYTES:
            raise ProviderFailed(f"{name}: the program of BROKER_KEY_PROVIDER ended with {done.returncode}")
        return done.stdout


class HttpProvider:
    """``GET <address>/<name>`` with a bearer token; the body is the secret."""

    def __init__(self, address: str, token: str | None) -> None:
        parts = urlsplit(address)
        if parts.scheme != "https" and not _is_here(parts.hostname or ""):
            raise ProviderFailed("BROKER_KEY_PROVIDER: only https, or http on this machine")
        self._address = address.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def secret(self, name: str) -> bytes | None:
        """The body of the answer; None when it is 404."""
        data = bytearray()
        try:
            with httpx2.stream("GET", f"{self._address}/{name}", headers=self._headers, timeout=TIMEOUT_SECONDS, follow_redirects=False) as answer:
                if answer.status_code == 404:
                    return None
                if answer.status_code != 200:
                    raise ProviderFailed(f"{name}: BROKER_KEY_PROVIDER answered with {answer.status_code}")
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise ProviderFailed(f"{name}: the answer of BROKER_KEY_PROVIDER is too long")
        except httpx2.HTTPError as error:
            raise ProviderFailed(f"{name}: BROKER_KEY_PROVIDER could not be reached ({type(error).__name__})") from error
        return bytes(data)


def provider_of(settings: Settings) -> KeyProvider | None:
    """The provider of the settings; None where keys are in the settings or in files. Raises ProviderFailed."""
    chosen = settings.key_provider
    if chosen is None:
        return None
    if chosen.startswith("command:"):
        return CommandProvider(chosen.removeprefix("command:"))
    if chosen.startswith(("https://", "http://")):
        return HttpProvider(chosen, settings.key_provider_token.get_secret_value() if settings.key_provider_token else None)
    raise ProviderFailed("BROKER_KEY_PROVIDER: `command:` and a program, or an address")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
