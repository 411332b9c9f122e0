import asyncio

from aiohttp import web

import ioring


async def hello(request):
    return web.Response(text=type(asyncio.get_running_loop()).__module__)


app = web.Application()
app.router.add_get("/", hello)
web.run_app(app, port=8080, loop=ioring.new_event_loop())
