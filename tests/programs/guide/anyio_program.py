import anyio

import ioring


async def main():
    async with await anyio.create_tcp_listener(local_port=8080) as listener:
        await listener.serve(echo)


async def echo(stream):
    async with stream:
        async for data in stream:
            await stream.send(data)


anyio.run(main, backend_options={"loop_factory": ioring.new_event_loop})
