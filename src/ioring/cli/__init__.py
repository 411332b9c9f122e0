"""The commands: ``ioring serve``, ``ioring echo``, ``ioring doctor``.

Open main.py first, where they come together; each has a module of its own name. ``_echo_server`` is the compiled server
behind ``ioring echo``. They need click, which nothing below does.
"""
