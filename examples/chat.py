"""A chat on the event loop: what one client writes, all the others read. Plain asyncio; only the last line is ours.

    python examples/chat.py [--port 7777]

Talk to it with several of `nc 127.0.0.1 7777`. A client that says nothing for five minutes is turned away, and so is
one that does not read: nobody else waits for it. Ctrl-C ends it.
"""

import argparse
import asyncio
import contextlib

import ioring

IDLE_SECONDS = 300
UNREAD_MAX = 1 << 20

clients: dict[asyncio.StreamWriter, str] = {}


def tell_others(sender: asyncio.StreamWriter, line: bytes) -> None:
    for writer in list(clients):
        if writer is sender:
            continue
        if writer.transport.get_write_buffer_size() > UNREAD_MAX:
            writer.transport.abort()
        else:
            writer.write(line)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, port = writer.get_extra_info("peername")[:2]
    name = clients[writer] = f"{host}:{port}"
    tell_others(writer, f"* {name} is here\n".encode())
    try:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                line = await reader.readline()
            if not line:
                break
            tell_others(writer, f"{name}: ".encode() + line)
    except TimeoutError:
        writer.write(b"* good bye\n")
    except ConnectionError:
        pass
    finally:
        del clients[writer]
        tell_others(writer, f"* {name} has left\n".encode())
        writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description="A chat: what one client writes, all the others read.")
    parser.add_argument("--port", type=int, default=7777, help="0 for any that is free (%(default)s)")
    server = await asyncio.start_server(serve, "127.0.0.1", parser.parse_args().port)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        ioring.run(main())
