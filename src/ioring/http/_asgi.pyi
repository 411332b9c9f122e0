import asyncio
import re
from collections.abc import Awaitable, MutableMapping
from typing import Any

from ioring.http._exchange import Exchange
from ioring.http._service import Service

NO_TRAILERS: frozenset[bytes]
SPEC_VERSION: str
PATHSEND: dict[str, bool]
TRAILER_NAME: re.Pattern[bytes]

class AsgiExchange(Exchange):
    def scope(self) -> dict[str, Any]: ...
    def receive(self) -> Awaitable[MutableMapping[str, Any]]: ...
    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]: ...

def tasks_of(service: Service) -> list[asyncio.Task[Any]]: ...
