"""The server's exceptions."""


class ConfigurationError(Exception):
    """The server cannot be run as it was asked for; the message is one line that says why and what to do."""

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(line.strip() for line in str(message).splitlines() if line.strip()))


class ClientDisconnected(OSError):
    """The client has gone, so that nobody receives what the application sends."""
