"""The file with the number of the server's process (``--pidfile``). Who made it removes it."""

import contextlib
import os

from ioring.http.errors import ConfigurationError

SIZE_MAX = 32


class PidFile:
    """A file that says which process this is, from ``write`` until ``remove``.

    Parameters:
        path: where it is; "": nowhere.

    Raises:
        ConfigurationError: it is that of another process, which lives.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path) if path else ""
        self._fd = -1
        if path:
            other = self._says()
            if other and other != os.getpid() and lives(other):
                raise ConfigurationError(
                    f"pidfile: {path} is that of process {other}, which runs: stop it, or remove the file if it is "
                    "not a server"
                )

    def write(self) -> None:
        """
        Raises:
            ConfigurationError: it cannot be written.
        """
        if not self.path:
            return
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            os.write(self._fd, f"{os.getpid()}\n".encode())
        except OSError as error:
            self.remove()
            raise ConfigurationError(f"pidfile: {self.path}: {error.strerror}") from None

    def remove(self) -> None:
        """If it is still the one that was written."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            try:
                if os.path.samestat(os.stat(self.path), os.fstat(self._fd)):
                    os.unlink(self.path)
            except PermissionError:  # the rights to its folder were given up: an empty one is nobody's
                os.ftruncate(self._fd, 0)
        os.close(self._fd)
        self._fd = -1

    def _says(self) -> int:
        """The number in the file; 0: there is none."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                text = (file.read(SIZE_MAX) or b"").strip()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise ConfigurationError(f"pidfile: {self.path}: {error.strerror}") from None
        return int(text) if text.isdigit() else 0


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
