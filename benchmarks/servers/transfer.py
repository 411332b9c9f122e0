"""A server that takes or gives many bytes by asyncio's streams, on any of the event loops.

upload: it reads until the end of the stream and answers with the number of bytes. download: a line says how many bytes
are wanted, and it writes that many, 64 KiB at a time, byte n of the stream being n modulo 256.
"""

import argparse
import asyncio

from common import ADDRESS, LOOPS, announce, for_ever, run

READ_SIZE = 65536
CHUNK = bytes(range(256)) * 256


async def take(reader, writer):
    count = 0
    while data := await reader.read(READ_SIZE):
        count += len(data)
    writer.write(b"%d\n" % count)
    writer.close()
    await writer.wait_closed()


async def give(reader, writer):
    left = int(await reader.readline() or b"0")
    while left:
        chunk = CHUNK[:left]
        writer.write(chunk)
        await writer.drain()
        left -= len(chunk)
    writer.close()
    await writer.wait_closed()


async def serve(kind):
    server = await asyncio.start_server({"upload": take, "download": give}[kind], *ADDRESS)
    announce(server.sockets[0])
    await for_ever()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=LOOPS, required=True)
    parser.add_argument("--kind", choices=("upload", "download"), required=True)
    options = parser.parse_args()
    run(options.loop, serve(options.kind))


if __name__ == "__main__":
    main()
