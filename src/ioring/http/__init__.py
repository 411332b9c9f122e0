"""The HTTP server: ``ioring serve``, and ``serve`` and ``Server`` for Python programs.

Open main.py first, where serving begins, then server.py, the server of one process. ``_connection`` turns bytes into
requests, one after the other (``_request_queue``, ``_deadlines``); ``_exchange`` is a request and its response;
``_asgi`` and ``_wsgi_gateway`` are what applications are given, ``static`` and ``_response_cache`` answer for folders,
``websocket`` and ``websocket_messages`` speak WebSocket. ``configuration`` has every option, and
``option_sources`` says where its value is from; ``supervisor`` and ``worker`` are the processes.

Stands on files, loop and ring; nothing here knows the commands.
"""

__all__ = ["Configuration", "ConfigurationError", "Server", "StaticFiles", "serve"]

TYPE_CHECKING = False  # typing's, without importing it
if TYPE_CHECKING:
    from ioring.http.configuration import Configuration
    from ioring.http.embedded import Server
    from ioring.http.errors import ConfigurationError
    from ioring.http.main import serve
    from ioring.http.static import StaticFiles

_HOMES = {
    "Configuration": "configuration",
    "ConfigurationError": "errors",
    "Server": "embedded",
    "StaticFiles": "static",
    "serve": "main",
}


def __getattr__(name: str) -> object:
    # Looked up when asked for: most modules here need packages that the rest of ioring does without.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
