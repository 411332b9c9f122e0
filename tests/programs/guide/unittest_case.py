import asyncio
import unittest

import ioring


class Case(unittest.IsolatedAsyncioTestCase):
    loop_factory = staticmethod(ioring.new_event_loop)

    async def test_loop(self):
        self.assertIsInstance(asyncio.get_running_loop(), ioring.Loop)


unittest.main()
