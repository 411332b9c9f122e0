"""What goes wrong before a server runs."""


class ConfigurationError(Exception):
    """What was asked for is not possible; the message is one line that says why and what to do."""

    def __init__(self, message):
        super().__init__(" ".join(line.strip() for line in str(message).splitlines() if line.strip()))
