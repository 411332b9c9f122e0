"""Files of environment variables (``--env-file``), in the syntax of python-dotenv."""

import os
from collections.abc import Iterator, MutableMapping

from dotenv.parser import parse_stream

from ioring.http.errors import ConfigurationError


def load_environment(path: str | os.PathLike[str], environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets the variables that a file gives, except for those that are set already.

    Raises:
        ConfigurationError: the file cannot be read, or one of its lines is wrong.
    """
    for name, value in variables(path):
        environment.setdefault(name, value)


def variables(path: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """The names and values that a file gives.

    ``$`` has no meaning in values: python-dotenv could put other variables there, but then a password with a ``$``
    would be changed.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = list(parse_stream(file))
    except OSError as error:
        raise ConfigurationError(f"env_file: {os.fspath(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"env_file: {os.fspath(path)} is not UTF-8") from None
    for each in found:
        # Blank lines before a variable belong to it.
        blank = len(each.original.string) - len(each.original.string.lstrip())
        where = f"{os.fspath(path)}:{each.original.line + each.original.string[:blank].count(chr(10))}"
        if each.error:
            raise ConfigurationError(f"{where}: this is not KEY=VALUE, or its quotes are not closed")
        if each.key is None:  # a comment, or the blank lines at the end
            continue
        if each.value is None or not each.key.isidentifier() or not each.key.isascii():
            raise ConfigurationError(f"{where}: expected KEY=VALUE")
        if "\0" in each.value:
            raise ConfigurationError(f"{where}: a value cannot contain a NUL character")
        yield each.key, each.value
