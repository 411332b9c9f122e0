"""Which log a configuration asks for."""

import os
import sys

from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.forwarded import Proxies
from ioring.http.log import FileLog, Log


def log_of(configuration: Configuration, proxies: Proxies | None = None) -> Log:
    """The log that a configuration asks for."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    form, level, line = configuration.log_format, configuration.log_level, configuration.access_log_format
    if configuration.log_config:
        from ioring.http.python_log import PythonLog  # few servers have it, and logging.config takes time

        return PythonLog(configuration.log_config, proxies, line)
    if configuration.log_file:
        return FileLog(configuration.log_file, form, level, proxies, line)
    return Log(form, level, proxies, line=line)


def check_log(configuration: Configuration) -> None:
    """
    Raises:
        ConfigurationError: there cannot be such a log.
    """
    if configuration.log_config:
        log_of(configuration)
    elif configuration.log_file:
        path = os.path.abspath(configuration.log_file)
        folder = os.path.dirname(path)
        if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
            raise ConfigurationError(f"log_file: {configuration.log_file} cannot be written")
