import ssl
from typing import Any

from ioring.loop._core import LoopCore

# Returns a TlsProtocol.
def make_tls(
    loop: LoopCore,
    app_protocol: Any,
    sslcontext: ssl.SSLContext | None,
    waiter: Any = None,
    server_side: bool = False,
    server_hostname: str | None = None,
    call_connection_made: bool = True,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> Any: ...
