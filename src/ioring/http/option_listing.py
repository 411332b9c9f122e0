"""What is in force, as a file that ``--config`` would read (``--print-config``)."""

import dataclasses
import json
from typing import Any

from ioring.http.configuration import Configuration

SECRET = ("ssl_keyfile_password",)
"""Options whose values are not shown."""


def listing(configuration: Configuration) -> str:
    """A line for each option: its name, its value, and where that is from."""
    lines = []
    if isinstance(configuration.target, str):
        lines.append(line("app", configuration.target, configuration.origins.get("target", "program")))
    for field in dataclasses.fields(configuration):
        # One file cannot name another: it is a comment here.
        if field.metadata and field.name != "config":
            value = getattr(configuration, field.name)
            if field.name in SECRET and value:
                lines.append(f"# {field.name.replace('_', '-')} is set, by: {configuration.origins[field.name]}")
                continue
            lines.append(line(field.name, value, configuration.origins.get(field.name, "default")))
    return "\n".join(lines) + "\n"


def said(configuration: Configuration) -> list[str]:
    """A line for each option that is no default."""
    names = [name for name in configuration.origins if name not in (*SECRET, "target")]
    return [line(name, getattr(configuration, name), configuration.origins[name]) for name in names]


def line(name: str, value: Any, origin: str) -> str:
    return f"{name.replace('_', '-')} = {toml(value)}  # {origin}"


def toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()
