"""The event loop: asyncio's, with one ring for sockets, pipes, timers, signals and children.

Open event_loop.py first: ``Loop`` is asyncio's base loop, with what happens once per loop and connection; ``signals``,
``subprocesses`` and ``sendfile`` are parts of it. ``_core`` is the compiled half, one turn of the loop. Protocols talk
to ``_transport`` and the modules named for a transport; ``_tls`` stands between two of them. ``_acceptor`` accepts,
``_sock_calls`` has the sock_* calls, and ``_sock_requests`` what they return. ``runners`` has ``run()``,
``asyncio_private`` what is used of asyncio's insides.

Stands on ring; nothing here knows files, http or cli.
"""
