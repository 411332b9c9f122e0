"""TLS: the context of a configuration, and new certificates for one that is in use."""

import os
import ssl
from typing import Any

from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.log import Log

REQUIREMENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
NEED_CERTIFICATES = ("ssl_keyfile", "ssl_ca_certs", "ssl_ciphers", "ssl_min_version")


class ByName:
    """Chooses a context by the host name that a client asks for (SNI); the ``sni_callback`` of the first one.

    Parameters:
        contexts: by host names in lower case, which may begin with ``*.`` for exactly one label.
    """

    def __init__(self, contexts: dict[str, ssl.SSLContext]) -> None:
        self.contexts = contexts

    def __call__(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        name = (name or "").lower()
        chosen = self.contexts.get(name) or self.contexts.get("*." + name.partition(".")[2])
        if chosen is not None:
            connection.context = chosen


def context_of(configuration: Configuration) -> ssl.SSLContext | None:
    """The context that a configuration asks for; None without TLS.

    Raises:
        ConfigurationError: a file is missing, or is not what it should be.
    """
    certificates = configuration.ssl_certfile
    if not certificates:
        for name in NEED_CERTIFICATES:
            if getattr(configuration, name):
                raise ConfigurationError(f"{name}: without ssl_certfile there is no TLS")
        if configuration.ssl_cert_reqs != "none":
            raise ConfigurationError("ssl_cert_reqs: without ssl_certfile there is no TLS")
        return None
    if configuration.ssl_cert_reqs != "none" and not configuration.ssl_ca_certs:
        raise ConfigurationError("ssl_cert_reqs: ssl_ca_certs has to say what certificates are checked with")
    if configuration.ssl_keyfile and len(configuration.ssl_keyfile) != len(certificates):
        raise ConfigurationError(
            f"ssl_keyfile: there are {len(configuration.ssl_keyfile)} for {len(certificates)} certificates: give one "
            "for each, or none when each is in the file of its certificate"
        )
    first = bare_context(configuration)
    load(first, configuration, 0)
    if len(certificates) > 1:
        first.sni_callback = ByName(contexts_by_name(first, configuration))
    return first


def bare_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = REQUIREMENTS[configuration.ssl_cert_reqs]
    context.set_alpn_protocols(["http/1.1"])
    if configuration.ssl_min_version:
        context.minimum_version = VERSIONS[configuration.ssl_min_version]
    if configuration.ssl_ciphers:
        try:
            context.set_ciphers(configuration.ssl_ciphers)
        except ssl.SSLError:
            raise ConfigurationError(f"ssl_ciphers: OpenSSL knows none of {configuration.ssl_ciphers}") from None
    return context


def contexts_by_name(first: ssl.SSLContext, configuration: Configuration) -> dict[str, ssl.SSLContext]:
    """For each name the context with the first certificate that is for it; ``first`` has the first of all.

    Certificates for the same names share a context: of an RSA and an elliptic one clients get what they can use.
    """
    contexts: dict[str, ssl.SSLContext] = {}
    sharing: dict[frozenset[str], ssl.SSLContext] = {}
    for number, path in enumerate(configuration.ssl_certfile):
        names = names_of(path)
        context = sharing.get(names)
        if context is None:
            context = sharing[names] = first if number == 0 else bare_context(configuration)
        if number:
            load(context, configuration, number)
        for name in names:
            contexts.setdefault(name, context)
    return contexts


def names_of(path: str) -> frozenset[str]:
    """The host names that a certificate is for."""
    # The one way of the standard library to read a certificate that no connection has shown.
    found: dict[str, Any] = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    names = {value.lower() for kind, value in found.get("subjectAltName", ()) if kind == "DNS"}
    if not names:
        raise ConfigurationError(f"{path}: the certificate is for no host name (subjectAltName), and cannot be chosen")
    return frozenset(names)


def reload(context: ssl.SSLContext, configuration: Configuration) -> None:
    """Gives a context that is in use the files' present contents; connections from now on get them.

    Raises:
        ConfigurationError: they are not in order; the context goes on with what it had.
    """
    context_of(configuration)  # a context is not whole when this fails half-way
    load(context, configuration, 0)
    chooser = context.sni_callback
    if isinstance(chooser, ByName):
        chooser.contexts = contexts_by_name(context, configuration)


def renew(context: ssl.SSLContext, configuration: Configuration, log: Log) -> None:
    """Does the same, or says why the files cannot be used."""
    try:
        reload(context, configuration)
    except ConfigurationError as error:
        log.error(f"the certificates stay what they were: {error}")
    else:
        log.info("certificates were read again")


def load(context: ssl.SSLContext, configuration: Configuration, number: int) -> None:
    """Reads one of the certificates, with its key."""
    certificate = configuration.ssl_certfile[number]
    key = configuration.ssl_keyfile[number] if configuration.ssl_keyfile else ""
    for path in filter(None, (certificate, key, configuration.ssl_ca_certs)):
        readable(path)

    asked = []

    def password() -> str:
        asked.append(True)
        # Without this OpenSSL would ask at the terminal.
        if not configuration.ssl_keyfile_password:
            raise ConfigurationError(f"{key or certificate}: the key is encrypted: give ssl_keyfile_password")
        return configuration.ssl_keyfile_password

    try:
        context.load_cert_chain(certificate, key or None, password)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{why(error, asked)} ({', '.join(filter(None, (certificate, key)))})") from None
    if configuration.ssl_ca_certs:
        try:
            context.load_verify_locations(configuration.ssl_ca_certs)
        except ssl.SSLError:
            raise ConfigurationError(f"{configuration.ssl_ca_certs}: no certificates (PEM) are in it") from None


def why(error: ssl.SSLError, asked: list[bool]) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if asked:
        return "ssl_keyfile_password is not the key's"
    return f"no certificate and key (PEM) can be read: {error.reason or error}"


def readable(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
