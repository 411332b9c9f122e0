import asyncio

from gunicorn.workers.gasgi import ASGIWorker

import ioring


class RingWorker(ASGIWorker):
    def _setup_event_loop(self):
        self.loop = ioring.new_event_loop()
        asyncio.set_event_loop(self.loop)
