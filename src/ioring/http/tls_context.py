"""TLS: the context of a configuration, and new certificates for one that is in use."""

import os
import ssl

from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.log import Log

REQUIREMENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def context_of(configuration: Configuration) -> ssl.SSLContext | None:
    """The context that a configuration asks for; None without TLS.

    Raises:
        ConfigurationError: a file is missing, or is not what it should be.
    """
    if not configuration.ssl_certfile:
        for name in ("ssl_keyfile", "ssl_ca_certs", "ssl_ciphers"):
            if getattr(configuration, name):
                raise ConfigurationError(f"{name}: without ssl_certfile there is no TLS")
        if configuration.ssl_cert_reqs != "none":
            raise ConfigurationError("ssl_cert_reqs: without ssl_certfile there is no TLS")
        return None
    if configuration.ssl_cert_reqs != "none" and not configuration.ssl_ca_certs:
        raise ConfigurationError("ssl_cert_reqs: ssl_ca_certs has to say what certificates are checked with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = REQUIREMENTS[configuration.ssl_cert_reqs]
    context.set_alpn_protocols(["http/1.1"])
    if configuration.ssl_ciphers:
        try:
            context.set_ciphers(configuration.ssl_ciphers)
        except ssl.SSLError:
            raise ConfigurationError(f"ssl_ciphers: OpenSSL knows none of {configuration.ssl_ciphers}") from None
    load(context, configuration)
    return context


def reload(context: ssl.SSLContext, configuration: Configuration) -> None:
    """Gives a context that is in use the files' present contents; connections from now on get them.

    Raises:
        ConfigurationError: they are not in order; the context goes on with what it had.
    """
    context_of(configuration)  # a context is not whole when this fails half-way
    load(context, configuration)


def renew(context: ssl.SSLContext, configuration: Configuration, log: Log) -> None:
    """Does the same, or says why the files cannot be used."""
    try:
        reload(context, configuration)
    except ConfigurationError as error:
        log.error(f"the certificates stay what they were: {error}")
    else:
        log.info("certificates were read again")


def load(context: ssl.SSLContext, configuration: Configuration) -> None:
    certificate, key = configuration.ssl_certfile, configuration.ssl_keyfile
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
