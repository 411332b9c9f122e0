"""An MCP server of FastMCP under `ioring serve`, asked by its own client over streamable HTTP."""

import asyncio

import pytest

from served import MARKS, Serving, need, nothing_went_wrong

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


APP = """
from fastmcp import FastMCP
mcp = FastMCP("served")

@mcp.tool
def add(a: int, b: int) -> int:
    return a + b

app = mcp.http_app()
"""


def test_fastmcp(tmp_path):
    need("fastmcp")
    from fastmcp import Client

    async def main(url):
        async with Client(url) as client:
            assert [tool.name for tool in await client.list_tools()] == ["add"]
            results = await asyncio.gather(*[client.call_tool("add", {"a": n, "b": 1}) for n in range(10)])
            assert [result.data for result in results] == list(range(1, 11))

    with Serving(tmp_path, "main:app", application=APP) as server:
        asyncio.run(main(f"http://127.0.0.1:{server.port}/mcp"))
    nothing_went_wrong(server)
