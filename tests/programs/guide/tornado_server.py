import asyncio

import tornado.web

import ioring


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write(type(asyncio.get_running_loop()).__module__)


async def main():
    tornado.web.Application([("/", Hello)]).listen(8080)
    await asyncio.Event().wait()


ioring.run(main())
