"""Imported before everything else: that this is the main interpreter, to which the compiled modules belong."""

import importlib


def _is_main() -> bool:
    """Whether this is the main interpreter; taken for granted on a Python that does not say."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # from 3.13 on, and before
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        # Since 3.13 with a second item, where it comes from.
        here, main = module.get_current(), module.get_main()
        return bool(here == main)
    return True


if not _is_main():
    raise ImportError(
        "ioring cannot be imported in a sub-interpreter: its compiled modules belong to the main interpreter. "
        "Use it there, or in another process",
        name="ioring",
    )
