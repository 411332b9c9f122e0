"""The start-up and the shutdown of an ASGI application (the lifespan protocol)."""

import asyncio
from collections.abc import Callable
from typing import Any

from ioring.http.asgi_types import Application, Message
from ioring.http.errors import ConfigurationError


class Failure(Exception):
    """What an application says of its failure, in several lines."""


class Lifespan:
    """Runs the application once for its whole life; ``state`` is what its requests get copies of.

    Parameters:
        application: the ASGI application.
        required: whether one that does not know the protocol is an error.
        log: called with a message and an exception.

    Attributes:
        note: what is worth knowing of the start-up and no fault, or None.
    """

    def __init__(
        self, application: Application, required: bool, log: Callable[[str, BaseException | None], object]
    ) -> None:
        self.application = application
        self.required = required
        self.log = log
        self.note: str | None = None
        self.state: dict[str, Any] = {}
        self._to_application: asyncio.Queue[Message] = asyncio.Queue()
        self._begun: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._supported = True

    async def startup(self) -> None:
        """Returns when the application is ready.

        Raises:
            ConfigurationError: it says that it failed.
        """
        self._task = asyncio.create_task(self._run(), name="lifespan")
        self._to_application.put_nowait({"type": "lifespan.startup"})
        # When a server is told to stop meanwhile, the application has made no mistake by saying that it is ready.
        failure = await asyncio.shield(self._begun)
        if failure is not None:
            await self._task
            raise ConfigurationError(self._told("the application failed to start", failure))

    async def shutdown(self) -> bool:
        """Returns when the application has put everything away; whether it could."""
        if not self._supported or self._task is None or self._task.done():
            return True
        self._to_application.put_nowait({"type": "lifespan.shutdown"})
        failure = await self._ended
        await self._task
        if failure is not None:
            self.log(self._told("the application failed to shut down", failure), None)
        return failure is None

    def _told(self, what: str, failure: str) -> str:
        """One line of what the application says went wrong, which often is a whole traceback: that is told apart."""
        lines = [line.strip() for line in failure.splitlines() if line.strip()]
        if len(lines) > 1:
            self.log(what, Failure(failure.rstrip()))
            lines = lines[-1:] if lines[0].startswith("Traceback ") else lines
        return ": ".join([what, " ".join(lines)] if lines else [what])

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.application(scope, self._to_application.get, self._send)
        except Exception as error:
            self._over(error)
        else:
            self._over(None)

    def _over(self, error: Exception | None) -> None:
        """The application has returned, or raised."""
        if not self._begun.done():
            self._supported = False
            if error is not None and self.required:
                self.log("the application raised an exception in its start-up", error)
                self._begun.set_result(f"{type(error).__name__}: {error}")
            else:
                if error is not None:
                    self.note = (
                        f"the application has no start-up, or raised an exception in it: {type(error).__name__}: "
                        f"{error}; it is served all the same (with --lifespan on it would not be)"
                    )
                self._begun.set_result(None)  # it does not know the protocol
        elif error is not None:
            self.log("the application raised an exception in its lifespan", error)
        if not self._ended.done():
            self._ended.set_result(None)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        future = self._begun if kind.startswith("lifespan.startup.") else self._ended
        if future.done() or kind not in (
            "lifespan.startup.complete",
            "lifespan.startup.failed",
            "lifespan.shutdown.complete",
            "lifespan.shutdown.failed",
        ):
            raise RuntimeError(f"{kind!r} is not to be sent now")
        future.set_result(message.get("message", "") if kind.endswith(".failed") else None)
