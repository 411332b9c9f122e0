import asyncio

from anyio.from_thread import start_blocking_portal

import ioring

context = start_blocking_portal(backend_options={"loop_factory": ioring.new_event_loop})
portal = context.__enter__()


async def work():
    await asyncio.sleep(0.01)
    return type(asyncio.get_running_loop()).__name__


print(portal.call(work))

context.__exit__(None, None, None)
