"""Where the values of options come from: the command or a program, then variables, then a file, then defaults."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping, MutableMapping
from typing import Any

from ioring.http.errors import ConfigurationError
from ioring.http.option_values import ALLOWED, LISTED, parsed, size

USUAL = {"port": "PORT", "workers": "WEB_CONCURRENCY", ALLOWED: "FORWARDED_ALLOW_IPS"}
"""Variables that hosting platforms set for any server."""

ADDRESSES = ("host", "port", "uds", "fd")
"""The options that say one address; `bind` is in the place of all of them."""

Fields = Mapping[str, dataclasses.Field[Any]]


class Merged:
    """Options of several sources. What is put first wins.

    Parameters:
        given: options that come before all others, and perhaps the ``target``.
        origin: where those are from.

    Attributes:
        values, origins: the options, and for each of them where it is from.
    """

    def __init__(self, given: Mapping[str, Any], origin: str) -> None:
        self.values = dict(given)
        self.origins = dict.fromkeys(given, origin)
        self._file: dict[str, Any] = {}
        self._path = ""
        self._env_file: str | None = None
        self._of_env_file: set[str] = set()

    def load_env_file(self, environment: MutableMapping[str, str]) -> None:
        """Sets the variables of the ``env_file``, if one is known and it was not done before."""
        path = self.values.get("env_file") or environment.get("IORING_ENV_FILE") or self._file.get("env_file")
        if not path or self._env_file is not None:
            return
        from ioring.http.env_file import load_environment  # it needs a package

        self._env_file = os.fspath(path)
        before = set(environment)
        load_environment(path, environment)
        self._of_env_file = set(environment) - before

    def load_config(self, path: str, fields: Fields) -> None:
        """Reads the ``config``, or else the file with this path, for ``take_file``."""
        self._path = os.fspath(self.values.get("config") or path)
        if self._path:
            self._file = options_of(self._path, fields)

    def take_variables(self, environment: Mapping[str, str], fields: Fields) -> None:
        """The options that variables give."""
        before = set(self.values)
        for field in fields.values():
            name = f"IORING_{field.name.upper()}"
            if name in environment and not replaced(field.name, before):
                self._put(field.name, parsed(name, environment[name], field), self._variable(name))
        for name, variable in USUAL.items():
            if name == "port" and "bind" in self.values:
                continue
            # An empty list counts: no proxy is trusted.
            if environment.get(variable) or (name == ALLOWED and variable in environment):
                self._put(name, parsed(variable, environment[variable], fields[name]), self._variable(variable))

    def take_file(self) -> None:
        """The options of the ``config``."""
        before = set(self.values)
        for name, value in self._file.items():
            if not replaced(name, before):
                self._put(name, value, self._path)
        if self._path and "config" not in self.values:
            self._put("config", self._path, self._variable("IORING_CONFIG"))

    def _put(self, name: str, value: Any, origin: str) -> None:
        if name not in self.values or (name == "target" and self.values[name] is None):
            self.values[name] = value
            self.origins[name] = origin

    def _variable(self, name: str) -> str:
        return f"{name} in {self._env_file}" if name in self._of_env_file else name


def replaced(name: str, before: set[str]) -> bool:
    """Whether an option does not count, since what comes before it says where to listen in the other way."""
    if name == "bind":
        return not before.isdisjoint(ADDRESSES)
    return name in ADDRESSES and "bind" in before


def options_of(path: str, fields: Fields) -> dict[str, Any]:
    """The options that a file of TOML gives, by their names, and ``target`` for its ``app``.

    Raises:
        ConfigurationError: there is no such file, or no such option, or it is of another type.
    """
    found: dict[str, Any] = {}
    for key, value in table_of(path).items():
        name = key.replace("-", "_")
        if name == "app":
            name, wanted = "target", "" if isinstance(value, str) else "text"
        elif name not in fields:
            raise ConfigurationError(f"{path}: {key}: there is no such option")
        elif name == "config":
            raise ConfigurationError(f"{path}: {key}: one file cannot name another")
        else:
            wanted = wanted_of(fields[name], value)
        if wanted:
            raise ConfigurationError(f"{path}: {key}: {value!r}: {wanted} is wanted")
        if name in found:
            raise ConfigurationError(f"{path}: {key} is there twice, once with _ and once with -")
        found[name] = value
    return found


def table_of(path: str) -> dict[str, Any]:
    """The table with the options in a file."""
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"config: {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"config: {path} is no TOML: {error}") from None
    if os.path.basename(path) != "pyproject.toml":
        return table
    for name in ("tool", "ioring", "serve"):
        table = table.get(name, {})
        if not isinstance(table, dict) or not table:
            raise ConfigurationError(f"config: {path} has no table [tool.ioring.serve]")
    return table


def wanted_of(field: dataclasses.Field[Any], value: Any) -> str:
    """What a file should have for an option in place of a value; "" when that is right."""
    metadata = field.metadata
    number = isinstance(value, int | float) and not isinstance(value, bool)
    texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    if metadata["flag"]:
        return "" if isinstance(value, bool) else "true or false"
    if metadata["kind"] is int:
        return "" if number and isinstance(value, int) else "a whole number"
    if metadata["kind"] is float:
        return "" if number else "a number"
    if metadata["kind"] is size:
        return "" if isinstance(value, str) or (number and isinstance(value, int)) else "a number of bytes, or a text,"
    if field.name in ("mount", "header") and isinstance(value, dict):
        return "" if all(isinstance(each, str) for each in value.values()) else "a table of texts"
    if metadata["several"]:
        return "" if texts or isinstance(value, str) else "a list of texts"
    if field.name in LISTED:
        return "" if texts or isinstance(value, str) else "a text, or a list of texts,"
    return "" if isinstance(value, str) else "a text"
