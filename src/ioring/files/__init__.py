"""Files without threads: ``open()``, ``Path``, the calls of ``os``, whole files.

Read opening.py first: ``open()`` finds out what kind of file is asked for. ``engine`` finds the ring that does the work
for a loop. ``_requests`` are the objects that are awaited, and ``_operations`` has a function for each of the kernel's
calls, of which most make a ``_call``. ``_turns``, ``_read_ahead``, ``_closing`` and ``_base`` are the layers of every
file; ``_raw``, ``_buffered``, ``_text`` and ``_direct_io`` are the kinds of files, and ``_text_decoding`` is how text
is read. ``_fast_path`` is for calls that the buffers can answer.

It uses the wings loop and ring, and knows nothing of http and cli.
"""
