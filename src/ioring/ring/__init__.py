"""The ring itself: submission and completion queues, what is in flight, buffer rings, what the kernel can do.

Open ring.py first: ``Ring`` is what programs use. Below it, ``_queues`` submits and reaps, ``_sqe`` and its bases
prepare requests, ``_request`` holds what the kernel may touch until the final completion, and ``_lifecycle`` closes.
``_dispatcher`` is the way of compiled code through the ring; the event loop stands on it. ``uring.h`` has the kernel's
structures, ``probe`` finds out what this kernel can do.

Nothing here knows the wings above: loop, files, http, cli.
"""
