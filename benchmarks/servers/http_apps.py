"""The applications of the HTTP workloads, the same for every server: each does as little as it can."""

import json
import os

HELLO = b"Hello, World!"
TEXT_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(HELLO)).encode())]


async def hello(scope, receive, send):
    """ASGI: thirteen bytes."""
    if scope["type"] != "http":
        await lifespan(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": TEXT_HEADERS})
    await send({"type": "http.response.body", "body": HELLO})


async def json_echo(scope, receive, send):
    """ASGI: reads the body as JSON and answers with the same."""
    if scope["type"] != "http":
        await lifespan(scope, receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = json.dumps(json.loads(body or b"null"), separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def websocket_echo(scope, receive, send):
    """ASGI: sends each message of a WebSocket back."""
    if scope["type"] != "websocket":
        await lifespan(scope, receive, send)
        return
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message.get("bytes") is not None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        else:
            await send({"type": "websocket.send", "text": message["text"]})


async def lifespan(scope, receive, send):
    """There is nothing to start and to end; said, since a server that is told waits no longer."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


def wsgi_hello(environ, start_response):
    """WSGI: thirteen bytes."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(HELLO)))])
    return [HELLO]


def __getattr__(name):
    """What needs a framework is made when it is asked for: the others do not wait for its import, nor have it."""
    makers = {"fastapi_hello": make_fastapi_hello, "fastapi_echo": make_fastapi_echo, "static": make_static}
    if name not in makers:
        raise AttributeError(name)
    application = globals()[name] = makers[name]()
    return application


def make_fastapi_hello():
    from fastapi import FastAPI

    application = FastAPI()

    @application.get("/")
    async def hello():
        return {"message": "Hello, World!"}

    return application


def make_fastapi_echo():
    """Reads the body as a list of items, checks each, and answers with the same."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Item(BaseModel):
        id: int
        name: str
        price: float
        tags: list[str]

    class Order(BaseModel):
        items: list[Item]

    application = FastAPI()

    @application.post("/")
    async def echo(order: Order) -> Order:
        return order

    return application


def make_static():
    """Starlette's files from the folder that the variable FOLDER names."""
    from starlette.staticfiles import StaticFiles

    return StaticFiles(directory=os.environ["FOLDER"])
