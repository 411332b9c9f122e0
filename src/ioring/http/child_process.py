"""The life of a forked process: nothing of its parent runs in it but what it is given to do."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from typing import NoReturn


def run_child(blocked: Collection[int], first: Callable[[], None], work: Callable[[], int | None]) -> NoReturn:
    """To be called in the child of a fork; ends the process, and never returns.

    Parameters:
        blocked: the signals that are to be blocked.
        first: closes what is the parent's.
        work: what the process is for; returns its exit code.
    """
    code = 1
    try:
        atexit._clear()  # those are the parent's
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        first()
        code = work() or 0
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
