"""Lines that go to Python's logging (``--log-config``): the loggers ``ioring.error`` and ``ioring.access``."""

import json
import logging
import logging.config
import tomllib
from collections.abc import Callable
from typing import Any

from ioring.http._exchange import Exchange
from ioring.http.errors import ConfigurationError
from ioring.http.forwarded import Proxies
from ioring.http.log import LEVELS, MESSAGE_MAX, Log
from ioring.http.log_text import LOST_STATUS, escaped, one_line, shortened

LINE = '%s - "%s %s HTTP/%s" %d'


class PythonLog(Log):
    """Hands all lines to Python's logging, which decides by levels of its own what is written, and where.

    Parameters:
        path: a file with what ``logging.config.dictConfig`` takes, as JSON or TOML.
        proxies, line: as of Log.

    Raises:
        ConfigurationError: there is no such file, or logging does not take it.
    """

    reopens = True

    def __init__(self, path: str, proxies: Proxies | None, line: str) -> None:
        super().__init__("plain", "debug", proxies, line=line)
        configure(path)
        self._errors = logging.getLogger("ioring.error")
        self._accesses = logging.getLogger("ioring.access")

    @property
    def accesses(self) -> Callable[[Exchange], None] | None:
        return self.access if self._accesses.isEnabledFor(logging.INFO) else None

    def access(self, exchange: Exchange) -> None:
        who, target = self._who(exchange), escaped(exchange.target)
        version, status = "1.1" if exchange.http11 else "1.0", exchange.status or LOST_STATUS
        fields = {
            "client": who,
            "method": exchange.method,
            "path": target,
            "http_version": version,
            "status": status,
            "bytes": exchange.sent,
            "duration_ms": round(self.duration(exchange) * 1000, 3),
        }
        if self._line is not None:
            self._accesses.info("%s", self._line(exchange), extra=fields)
        else:
            self._accesses.info(LINE, who, exchange.method, target, version, status, extra=fields)

    def tell(self, level: str, message: str, exception: BaseException | None = None) -> None:
        self._errors.log(LEVELS[level], "%s", one_line(shortened(message, MESSAGE_MAX)), exc_info=exception)

    def reopen(self) -> None:
        for handler in handlers():
            if isinstance(handler, logging.FileHandler):
                handler.acquire()
                try:
                    if handler.stream is not None:
                        handler.stream.close()
                        handler.stream = handler._open()
                except OSError as error:
                    self.error(f"{handler.baseFilename} cannot be opened again: {error.strerror}")
                finally:
                    handler.release()


def handlers() -> set[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return {handler for each in loggers if isinstance(each, logging.Logger) for handler in each.handlers}


def configure(path: str) -> None:
    """Sets up Python's logging. Loggers that are there already go on, unless the file says otherwise."""
    try:
        with open(path, "rb") as file:
            found: Any = json.load(file) if path.endswith(".json") else tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"log_config: {path}: {error.strerror}") from None
    except ValueError as error:
        kind = "JSON" if path.endswith(".json") else "TOML"
        raise ConfigurationError(f"log_config: {path} is no {kind}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"log_config: {path} has no table, or object, for logging.config.dictConfig")
    try:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **found})
    except Exception as error:  # of handlers and formatters, too
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise ConfigurationError(f"log_config: {path}: {error}{cause}") from None
