"""Where the functions of os.py and ospath.py come from: the one place that says so."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ioring.aiofiles.base import adopt, wrap
from ioring.files import os_calls as functions


def of_os(name: str) -> Callable[..., Any]:
    """A function of the os module, as a coroutine function."""
    return _asynchronous(getattr(functions, name))


def of_path(name: str) -> Callable[..., Any]:
    """The same of os.path."""
    return _asynchronous(getattr(functions.path, name))


def _asynchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    return adopt(function) if inspect.iscoroutinefunction(function) else wrap(function)
