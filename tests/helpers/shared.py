"""What the processes that share the tests make once for all of them."""

import contextlib
import fcntl
import os
import pickle


@contextlib.contextmanager
def place(tmp_path_factory, name):
    """A path that is the same in each of those processes; one of them at a time is inside."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / name


def result(tmp_path_factory, name, make, keep=lambda made: True):
    """What `make` returns; called again, or in another process, what it returned first, when that is worth keeping."""
    with place(tmp_path_factory, name) as path:
        if path.exists():
            return pickle.loads(path.read_bytes())
        made = make()
        if keep(made):
            path.write_bytes(pickle.dumps(made))
        return made
