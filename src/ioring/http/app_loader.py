"""Finds what is to be served: APP as module:name, a folder, or an object."""

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from ioring.http.asgi_types import Receive, Scope, Send
from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError


class Application:
    """What is served.

    ``kind`` is "asgi", "wsgi", "folder" or "page"; ``subject`` the callable or the path.
    """

    def __init__(self, kind: str, subject: Any, name: str) -> None:
        self.kind = kind
        self.subject = subject
        self.name = name


def load(configuration: Configuration) -> Application:
    """The application of a configuration.

    Raises:
        ConfigurationError: there is none.
    """
    target = configuration.target
    if target is None:
        return Application("page", None, "the start page")
    if isinstance(target, os.PathLike) or (isinstance(target, str) and is_folder(target)):
        path = os.fspath(target)
        if isinstance(target, str) and target.isidentifier() and os.path.isfile(os.path.join(path, "__init__.py")):
            raise ConfigurationError(
                f"{path} is a package: say {path}:app for an application in it, or ./{path} to show its files"
            )
        if not os.path.isdir(path):
            raise ConfigurationError(f"{path}: no such folder")
        return Application("folder", path, path)
    name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    subject = imported(target, configuration.app_dir) if isinstance(target, str) else target
    if configuration.factory:
        subject = made(subject, name)
    if not callable(subject):
        raise ConfigurationError(f"{name} is not callable: it is a {type(subject).__name__}")
    if takes_nothing(subject):
        raise ConfigurationError(
            f"{name} can be called without arguments, as no application can: if it makes one, say --factory"
        )
    kind = configuration.interface
    if kind == "auto":
        kind = interface_of(subject)
    return Application(kind, asgi3(subject) if kind == "asgi" else subject, name)


def is_folder(target: str) -> bool:
    """Whether a target means a folder: module:name cannot have a slash."""
    return "/" in target or target in (".", "..") or (":" not in target and os.path.isdir(target))


def imported(target: str, folder: str) -> Any:
    """The object that module:name says; the name may be left out when it is `app` or `application`."""
    module_name, separator, names = target.partition(":")
    if not module_name:
        raise ConfigurationError(f"{target!r}: module:name is wanted, such as main:app, or a folder")
    sys.path.insert(0, os.path.abspath(folder or "."))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            where = os.path.abspath(folder or ".")
            raise ConfigurationError(f"there is no module {error.name!r} (looked in {where} and sys.path)") from None
        raise ConfigurationError(f"{module_name} cannot be imported: {place(error)}{error}") from error
    except Exception as error:
        raise ConfigurationError(
            f"{module_name} cannot be imported: {place(error)}{type(error).__name__}: {error}"
        ) from error
    if not separator:
        for names in ("app", "application"):
            if hasattr(module, names):
                return getattr(module, names)
        raise ConfigurationError(f"{module_name} has neither app nor application: say {module_name}:name")
    subject = module
    for name in names.split("."):
        try:
            subject = getattr(subject, name)
        except AttributeError:
            raise ConfigurationError(f"{module_name} has no {names!r}") from None
    return subject


def place(error: BaseException) -> str:
    """Where an exception was raised, for one line."""
    traceback = error.__traceback__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or "importlib" in traceback.tb_frame.f_code.co_filename:
        return ""
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}: "


def made(factory: Any, name: str) -> Any:
    if not callable(factory):
        raise ConfigurationError(f"{name} is not callable, so that it makes no application")
    try:
        return factory()
    except Exception as error:
        raise ConfigurationError(f"{name}() raised {place(error)}{type(error).__name__}: {error}") from error


def takes_nothing(subject: Callable[..., object]) -> bool:
    """Whether something can do without arguments, and so is a factory."""
    try:
        parameters = inspect.signature(subject).parameters.values()
    except (TypeError, ValueError):
        return False
    return all(
        each.default is not each.empty or each.kind in (each.KEYWORD_ONLY, each.VAR_KEYWORD) for each in parameters
    )


def interface_of(subject: Any) -> str:
    """Whether something is "asgi" or "wsgi", by what calling it takes and gives."""
    function = subject
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return "asgi" if hasattr(function, "__await__") else "wsgi"
    if not inspect.isroutine(function):
        function = function.__call__
    if inspect.iscoroutinefunction(function):
        return "asgi"
    try:
        count = len(inspect.signature(subject).parameters)
    except (TypeError, ValueError):
        return "wsgi"
    return "wsgi" if count == 2 else "asgi"


def asgi3(subject: Any) -> Any:
    """An ASGI 3 application; ASGI 2 had two calls for one."""
    if inspect.isclass(subject):
        twice = not hasattr(subject, "__await__")  # else an object of it is what is awaited
    else:
        function = subject if inspect.isfunction(subject) else subject.__call__
        twice = not inspect.iscoroutinefunction(function) and len(inspect.signature(function).parameters) == 1
    if twice:

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await subject(scope)(receive, send)

        return application
    return subject
