"""What a server's process is: its user and groups, its umask, its folder."""

import grp
import os
import pwd

from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError

NUMBER_MAX = (1 << 32) - 1
"""This number, -1, is no user's and no group's."""


class Identity:
    """Who a process becomes when it gives up root's rights.

    Parameters:
        user: the number of the user; None: it stays.
        group: the number of the group.
        groups: all groups of the process, that one among them.
    """

    def __init__(self, user: int | None, group: int, groups: list[int]) -> None:
        self.user = user
        self.group = group
        self.groups = groups

    def take(self) -> None:
        """This process becomes that, for good.

        Raises:
            ConfigurationError: the kernel does not allow it.
        """
        try:
            os.setgroups(self.groups)
            os.setresgid(self.group, self.group, self.group)
            if self.user is not None:
                os.setresuid(self.user, self.user, self.user)
        except OSError as error:
            raise ConfigurationError(f"user: the rights of root cannot be given up: {error.strerror}") from None


def identity_of(configuration: Configuration) -> Identity | None:
    """Who the configuration says the process becomes; None when it stays who it is.

    Raises:
        ConfigurationError: there is no such user or group, or this process is not root's.
    """
    if not configuration.user and not configuration.group:
        return None
    user = name = None
    group = os.getegid()
    if configuration.user:
        user, group, name = user_of(configuration.user, "user")
    if configuration.group:
        group = group_of(configuration.group, "group")
    if os.geteuid() != 0:
        if user in (None, os.geteuid()) and group == os.getegid():
            return None
        option, wanted = ("user", configuration.user) if configuration.user else ("group", configuration.group)
        raise ConfigurationError(f"{option}: only a server that root starts can become {wanted}; leave it out")
    groups = [group] if name is None else os.getgrouplist(name, group)
    return Identity(user, group, groups)


def user_of(text: str, option: str) -> tuple[int, int, str | None]:
    """The number of a user, that of its group, and its name if it has one."""
    try:
        entry = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except (KeyError, OverflowError):
        if text.isdecimal() and int(text) < NUMBER_MAX:
            return int(text), int(text), None  # as in containers: no name is needed
        raise ConfigurationError(f"{option}: there is no user {text!r}") from None
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def group_of(text: str, option: str) -> int:
    if text.isdecimal():
        if int(text) >= NUMBER_MAX:
            raise ConfigurationError(f"{option}: there is no group {text}")
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ConfigurationError(f"{option}: there is no group {text!r}") from None


def owner_of(text: str) -> tuple[int, int]:
    """The numbers of USER, USER:GROUP or :GROUP; -1 for what stays. The group is the user's if it is not said."""
    user, separator, group = text.partition(":")
    number = own = -1
    if user:
        number, own, _ = user_of(user, "uds_owner")
    return number, group_of(group, "uds_owner") if separator else own


def settle(configuration: Configuration) -> None:
    """Goes to the folder, and sets the umask: before any file is opened or made.

    Raises:
        ConfigurationError: there is no such folder.
    """
    if configuration.chdir:
        try:
            os.chdir(configuration.chdir)
        except OSError as error:
            raise ConfigurationError(f"chdir: {configuration.chdir}: {error.strerror}") from None
    if configuration.umask:
        os.umask(int(configuration.umask, 8))
