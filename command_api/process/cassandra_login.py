"""Cassandra's TLS and login, for every process that connects: what goes into the driver, what a refusal means.

A refusal (a wrong password, a certificate that the CA file does not vouch for) is told from an absence, because waiting
mends the one and not the other.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from cassandra import AuthenticationFailed

from command_api.process.settings import Cassandra


class TlsFilesError(Exception):
    """A file of cassandra.ca_file, certificate_file or key_file can't be read; the message names them."""


def tls_context(settings: Cassandra) -> ssl.SSLContext | None:
    """What the driver's ``ssl_context`` wants; None without cassandra.ca_file. Raises TlsFilesError."""
    if settings.ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file))
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except OSError as error:
        raise TlsFilesError(
            f"Cassandra's TLS files can't be read ({error}): check cassandra.ca_file, certificate_file and key_file"
        ) from error
    context.check_hostname = settings.check_hostname
    return context


def remedy(error: BaseException) -> str | None:
    """The settings to look at when every node refuses this client; None when it may be let in later."""
    causes = getattr(error, "errors", None)
    found = list(_remedies(causes.values() if isinstance(causes, dict) else (error,)))
    return found[0] if found and found[0] is not None and None not in found else None


def _remedies(causes: Iterable[BaseException]) -> Iterable[str | None]:
    for cause in causes:
        text = str(cause)
        # A node that can't read its own roles yet refuses too, in these words.
        if isinstance(cause, AuthenticationFailed) and "Unable to perform authentication" not in text:
            yield "cassandra.username and cassandra.password"
        elif "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            # The driver wraps the handshake's error in an OSError of its own: only the text is left.
            yield "cassandra.ca_file, and cassandra.check_hostname when certificates name no addresses"
        else:
            yield None
