"""The ring itself: submission and completion queues, requests in flight, buffer rings, what the kernel can do.

Open ring.py first: ``Ring`` is what programs use. Its base ``Registrations`` registers files and buffers. Below it,
``_submission_queue`` submits and ``_completion_queue`` reaps; ``_core`` puts both together. ``_sqe`` and its bases
prepare requests, ``_request`` keeps what the kernel may touch until the final completion, and ``_lifecycle`` opens and
closes. ``_dispatcher`` is how compiled code uses the ring; the event loop is built on it. ``uring.h`` has the kernel's
structures, ``assertions.h`` what debug builds check. ``probe`` finds out what this kernel can do, ``unavailable`` says
why it gives no ring.

Nothing here imports from the wings above: loop, files, http, cli.
"""
