"""The event loop: asyncio's, with one ring for sockets, pipes, timers, signals and children.

Open event_loop.py first: ``Loop`` is asyncio's base loop, with what happens once per connection, signal or child.
``_core`` is the compiled half, one turn of the loop; ``_transport`` and the modules named for a transport are what
protocols talk to; ``_acceptor`` accepts, ``_sock_calls`` has the sock_* calls, ``_tls_transport`` TLS. ``runners`` has
``run()``.

Stands on ring; nothing here knows files, http or cli.
"""
