"""An ASGI application that the servers serve: programs.applications:app."""

import asyncio
import hashlib
import urllib.parse


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(receive, send)
    else:
        await PATHS[scope["path"]](scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        print(message["type"], type(asyncio.get_running_loop()).__name__, flush=True)
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def begin(send, status=200):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})


async def hello(scope, receive, send):
    await begin(send)
    await send({"type": "http.response.body", "body": b"hello " + scope["query_string"]})


async def digest(scope, receive, send):
    """The sum and the size of the request's body."""
    found, size = hashlib.sha256(), 0
    while True:
        message = await receive()
        found.update(message["body"])
        size += len(message["body"])
        if not message["more_body"]:
            break
    await begin(send)
    await send({"type": "http.response.body", "body": f"{found.hexdigest()} {size}".encode()})


async def count(scope, receive, send):
    """Numbers, each sent by itself."""
    to = int(urllib.parse.parse_qs(scope["query_string"].decode())["to"][0])
    await begin(send)
    for number in range(to):
        await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def gate(scope, receive, send):
    """Begins an answer, and ends it half a second later: long enough for a signal to come between."""
    await begin(send)
    await send({"type": "http.response.body", "body": b"begun\n", "more_body": True})
    print("begun", flush=True)
    await asyncio.sleep(0.5)
    await send({"type": "http.response.body", "body": b"ended\n"})


async def left(scope, receive, send):
    """Says when the client goes away."""
    await begin(send)
    await send({"type": "http.response.body", "body": b"begun\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    print("client left", flush=True)


async def fail(scope, receive, send):
    raise RuntimeError("on purpose")


async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "asked"})
            return
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"].upper()})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"][::-1]})
    print("websocket ended", message["code"], flush=True)


PATHS = {"/hello": hello, "/digest": digest, "/count": count, "/gate": gate, "/left": left, "/fail": fail}
