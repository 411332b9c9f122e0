"""The event loops that programs are tried on. Child processes name them too: programs.loops:direct."""

import asyncio
import os

# What IORING_PROGRAMS_LOOP may say, and the functions below that stand for it.
CHOICES = {"asyncio": ["stock"], "uvloop": ["uv"], "ioring": ["plain", "direct"]}
CHOSEN = CHOICES[os.environ.get("IORING_PROGRAMS_LOOP", "ioring")]


def stock():
    return asyncio.SelectorEventLoop()


def uv():
    import uvloop

    return uvloop.new_event_loop()


def plain():
    import ioring

    return ioring.Loop(direct_descriptors=False)


def direct():
    import ioring

    return ioring.Loop(direct_descriptors=True)
