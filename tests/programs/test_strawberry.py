"""GraphQL of Strawberry under `ioring serve`: queries, and subscriptions over a WebSocket."""

import json

import pytest

from served import MARKS, Serving, asked, need, nothing_went_wrong

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


APP = """
import asyncio
from collections.abc import AsyncGenerator
import strawberry
from strawberry.asgi import GraphQL

@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str) -> str:
        return f"hello {name}"

@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

app = GraphQL(strawberry.Schema(Query, subscription=Subscription))
"""


def test_strawberry(tmp_path):
    need("strawberry", "starlette")
    client = pytest.importorskip("websockets.sync.client")
    with Serving(tmp_path, "main:app", application=APP) as server:
        question = json.dumps({"query": '{ hello(name: "you") }'}).encode()
        said = asked(server, "/", question, {"Content-Type": "application/json"})
        assert json.loads(said)["data"] == {"hello": "hello you"}
        with client.connect(f"ws://127.0.0.1:{server.port}/", subprotocols=["graphql-transport-ws"]) as socket:
            socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(socket.recv(10))["type"] == "connection_ack"
            subscription = {"query": "subscription { count(to: 3) }"}
            socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": subscription}))
            messages = [json.loads(socket.recv(10)) for _ in range(4)]
            assert [message["payload"]["data"]["count"] for message in messages[:3]] == [0, 1, 2]
            assert messages[3] == {"type": "complete", "id": "1"}
    nothing_went_wrong(server)
