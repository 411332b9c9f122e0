"""Values of options, in the forms that the command, variables, files and programs give them."""

import dataclasses
import math
import os
from typing import Any

from ioring.http.errors import ConfigurationError

ALLOWED = "forwarded_allow_ips"
LISTED = (ALLOWED, "forwarded_headers")
"""The options that are a list in a string."""

SUFFIXES = {"K": 10, "M": 20, "G": 30}


def size(value: Any) -> int:
    """A number of bytes, also as a text such as 512M."""
    if isinstance(value, str) and value[-1:].upper() in SUFFIXES:
        number = int(value[:-1]) << SUFFIXES[value[-1].upper()]
    else:
        number = int(value)
    return number


WANTED = {size: "a number of bytes, or one such as 512M,"}


def typed(field: dataclasses.Field[Any], value: Any) -> Any:
    """A value from Python, converted to the type of its option."""
    name, metadata = field.name, field.metadata
    kind = metadata["kind"]
    try:
        if metadata["flag"]:
            if not isinstance(value, bool):
                raise TypeError
            return value
        if kind is not None:
            number = kind(value)
            if isinstance(value, bool) or math.isnan(number) or (isinstance(value, float) and number != value):
                raise ValueError
            return number
        if metadata["several"]:
            if value is None:
                return ()
            if isinstance(value, dict):
                sign = ":" if name == "header" else "="
                value = [f"{key}{sign}{os.fspath(each)}" for key, each in value.items()]
            value = [value] if isinstance(value, (str, os.PathLike)) else value
            return tuple(os.fsdecode(each) for each in value)
        if value is None and field.default == "":
            return ""
        if name in LISTED and isinstance(value, (list, tuple, set, frozenset)):
            return ",".join(map(str, value))
        return os.fsdecode(value)
    except (TypeError, ValueError, OverflowError):
        wanted = "a list" if metadata["several"] else "text"
        if metadata["flag"] or kind:
            wanted = "True or False" if metadata["flag"] else WANTED.get(kind, "a number")
        raise ConfigurationError(f"{name}: {value!r}: {wanted} is wanted") from None


def mounts_checked(mounts: tuple[str, ...]) -> tuple[str, ...]:
    """Mounts as a tuple of ``"/path=folder"``."""
    seen: set[str] = set()
    for mount in mounts:
        path, separator, folder = mount.partition("=")
        path = path.rstrip("/")
        if not separator or not folder or not path.startswith("/") or "//" in path:
            raise ConfigurationError(f"mount: {mount!r} is none: /path=folder is wanted")
        if any(not 0x21 <= ord(character) < 0x7F or character in "%?#" for character in path):
            raise ConfigurationError(f"mount: {mount!r} has a path with characters other than plain ASCII")
        if path in seen:
            raise ConfigurationError(f"mount: {path} is given twice")
        seen.add(path)
    return tuple(mounts)


TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def parsed(name: str, text: str, field: dataclasses.Field[Any]) -> Any:
    """The value that a variable gives."""
    if field.metadata["flag"]:
        if text.lower() in TRUE:
            return True
        if text.lower() in FALSE:
            return False
        raise ConfigurationError(f"{name}={text}: {TRUE[1]} or {FALSE[1]} is wanted")
    if field.metadata["several"]:
        separator = "\n" if field.name == "header" else ","  # values of headers have commas
        return tuple(part.strip() for part in text.split(separator) if part.strip())
    kind = field.metadata["kind"]
    if kind is None:
        return text
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{name}={text}: {WANTED.get(kind, 'a number')} is wanted") from None
