"""The HTTP server: ``ioring serve``, and ``serve`` for Python programs."""

from ioring.http.configuration import Configuration, ConfigurationError
from ioring.http.server import Server, serve
from ioring.http.static import StaticFiles

__all__ = ["Configuration", "ConfigurationError", "Server", "StaticFiles", "serve"]
