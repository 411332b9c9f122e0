"""Files of environment variables (``--env-file``)."""

import os
import re

from ioring.http.errors import ConfigurationError

NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def load_environment(path, environment=os.environ):
    """Sets the variables of a file that are not set already.

    Lines are KEY=VALUE, with or without ``export`` before it; empty ones and those that begin with # do not count. A
    value in double quotes may have \\n, \\r, \\t, \\" and \\\\, one in single quotes is as it stands; without quotes it
    ends before a # that follows a space.

    Raises:
        ConfigurationError: the file cannot be read, or a line is none of these.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ConfigurationError(f"env_file: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"env_file: {path} is not UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            name, value = variable(line, f"{path}:{number}")
            environment.setdefault(name, value)


def variable(line, where):
    """The name and the value that a line gives."""
    match = NAME.fullmatch(line)
    if match is None:
        raise ConfigurationError(f"{where}: KEY=VALUE is wanted")
    name, value = match.groups()
    if "\0" in value:
        raise ConfigurationError(f"{where}: a NUL cannot be in a value")
    if value[:1] in ("'", '"'):
        quoted = (DOUBLE if value[0] == '"' else SINGLE).fullmatch(value)
        if quoted is None:
            raise ConfigurationError(f"{where}: the quotes of {name} do not end where the value does")
        if value[0] == "'":
            return name, quoted[1]
        return name, re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), quoted[1])
    return name, re.sub(r"(^|\s+)#.*", "", value).rstrip()
