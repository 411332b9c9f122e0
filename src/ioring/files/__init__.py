"""Files without threads: ``open()``, ``Path``, the calls of ``os``, whole files.

Open opening.py first: ``open()`` finds out what kind of file is asked for. ``engine`` says which loop's ring does the
work; ``_requests`` are the requests; ``_base`` is what files share, ``_raw``, ``_buffered``, ``_text`` and
``_direct_io`` are the kinds. ``_fast_path`` answers at once what is in the page cache.

Stands on loop and ring; nothing here knows http or cli.
"""
