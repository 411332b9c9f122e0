"""An ASGI application, and the server started from Python: python examples/serve.py, then ask http://127.0.0.1:8080/."""

import os
from typing import Any

import ioring


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": f"from process {os.getpid()}\n".encode()})


if __name__ == "__main__":
    ioring.serve(app, port=8080, workers=4)
