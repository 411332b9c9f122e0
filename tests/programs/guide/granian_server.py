import asyncio
import signal

from application import app
from granian.constants import Interfaces
from granian.server.embed import Server

import ioring


async def main():
    server = Server(app, port=8080, interface=Interfaces.ASGINL)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await server.serve()


ioring.run(main())
