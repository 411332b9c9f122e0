"""What the headers of a request say about a file: preconditions, ranges, encodings (RFC 9110)."""

import calendar
import datetime
import email.utils
import re
import time
from collections.abc import Collection, Iterable

RANGES_MAX = 16
"""A request for more ranges than this gets the whole file: no real client needs that many."""

TAGS_MAX = 256
"""Entity tags of a list that are looked at."""

ACCEPTED_MAX = 1024
"""A longer value of accept-encoding counts as none: no real client has one."""

CODINGS = (b"br", b"zstd", b"gzip")
"""Encodings that a file beside another may have; the better ones first."""


MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
NAME = rb"(?P<month>" + b"|".join(MONTHS) + rb")"
CLOCK = rb"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
DATES = (
    re.compile(rb"[A-Z][a-z]{2}, (?P<day>[0-9]{2}) " + NAME + rb" (?P<year>[0-9]{4}) " + CLOCK + rb" GMT"),
    re.compile(rb"[A-Z][a-z]{5,8}, (?P<day>[0-9]{2})-" + NAME + rb"-(?P<year>[0-9]{2}) " + CLOCK + rb" GMT"),
    re.compile(rb"[A-Z][a-z]{2} " + NAME + rb" (?P<day>[0-9]{2}| [0-9]) " + CLOCK + rb" (?P<year>[0-9]{4})"),
)
"""The three forms of a date (RFC 9110, section 5.6.7). Anything else is none, and to be ignored."""


class Headers:
    """Those of a request that matter here; values of the same name are joined."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self.values: dict[bytes, list[bytes]] = {}
        for name, value in pairs:
            if name.startswith(b"if-") or name in (b"range", b"accept-encoding"):
                self.values.setdefault(name, []).append(value)

    def get(self, name: bytes) -> bytes | None:
        values = self.values.get(name)
        return None if values is None else b", ".join(values)


def precondition(headers: Headers, etag: bytes, modified: int) -> int | None:
    """The status that a request ends with before there is a body: 412, 304, or None (RFC 9110, section 13.2.2).

    Parameters:
        etag: as bytes, with its quotes; a strong one.
        modified: the file's time, in whole seconds.
    """
    value = headers.get(b"if-match")
    if value is not None:
        if not names(value, etag, weak=False):
            return 412
    else:
        date = time_of(headers.get(b"if-unmodified-since"))
        if date is not None and modified > date:
            return 412
    value = headers.get(b"if-none-match")
    if value is not None:
        return 304 if names(value, etag, weak=True) else None
    date = time_of(headers.get(b"if-modified-since"))
    return 304 if date is not None and modified <= date else None


def names(value: bytes, etag: bytes, weak: bool) -> bool:
    """Whether a list of entity tags has one, or is `*`."""
    if value.strip() == b"*":
        return True
    for item in value.split(b",", TAGS_MAX)[:TAGS_MAX]:
        item = item.strip()
        if item == etag or (weak and item.startswith(b"W/") and item[2:] == etag):
            return True
    return False


def time_of(value: bytes | None) -> int | None:
    """The seconds of an HTTP date; None when it is none."""
    if value is None:
        return None
    for form in DATES:
        match = form.fullmatch(value.strip())
        if match is not None:
            break
    else:
        return None
    day, month, year = int(match["day"]), MONTHS.index(match["month"]) + 1, int(match["year"])
    if len(match["year"]) == 2:  # not more than 50 years from now (RFC 9110, section 5.6.7)
        this = time.gmtime().tm_year
        year += this - this % 100
        year -= 100 if year > this + 50 else 0
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    try:
        # A leap second counts as the first one of the next minute.
        return calendar.timegm(datetime.datetime(year, month, day, hour, minute).timetuple()) + second
    except (ValueError, OverflowError):
        return None


def http_date(seconds: float) -> bytes:
    return email.utils.formatdate(seconds, usegmt=True).encode()


def ranges_of(headers: Headers, etag: bytes, modified: int, size: int) -> list[tuple[int, int]] | None:
    """The parts of a file that are asked for: pairs of offset and size; None for the whole, [] when it has none."""
    value = headers.get(b"range")
    if value is None:
        return None
    condition = headers.get(b"if-range")
    if condition is not None:
        condition = condition.strip()
        if condition.startswith((b'"', b"W/")):
            if condition != etag:
                return None
        elif time_of(condition) != modified:
            return None
    unit, separator, listed = value.partition(b"=")
    items = listed.split(b",", RANGES_MAX)
    if not separator or unit.strip().lower() != b"bytes" or len(items) > RANGES_MAX:
        return None
    parts = []
    asked = False
    for item in items:
        item = item.strip()
        if not item:
            continue
        first, dash, last = item.partition(b"-")
        first, last = first.strip(), last.strip()
        if not dash or not (number(first) or number(last)) or (first and not number(first)):
            return None
        if last and not number(last):
            return None
        asked = True
        if not first:
            count = min(int(last), size)
            if count:
                parts.append((size - count, count))
            continue
        begin, end = int(first), int(last) if last else size - 1
        if last and end < begin:
            return None
        if begin < size:
            parts.append((begin, min(end, size - 1) - begin + 1))
    if not asked:
        return None
    if sum(count for _, count in parts) > size:
        return None  # the same over and over: the whole is less work
    return parts


def number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 18


def coding_of(accepted: bytes | None, available: Collection[bytes]) -> bytes | None:
    """Which of the encodings that a file has is best for a client; None: as it is.

    Parameters:
        accepted: the value of accept-encoding, or None.
        available: names of encodings, a subset of CODINGS.
    """
    if not accepted or len(accepted) > ACCEPTED_MAX:
        return None
    weights = {}
    for item in accepted.lower().split(b","):
        name, *parameters = (part.strip() for part in item.split(b";"))
        weight = 1.0
        for parameter in parameters:
            key, _, text = parameter.partition(b"=")
            if key.strip() == b"q":
                weight = quality(text.strip())
        weights[b"gzip" if name == b"x-gzip" else name] = weight
    others = weights.get(b"*", 0.0)
    best, best_weight = None, weights.get(b"identity", 0.0)
    for name in CODINGS:
        weight = weights.get(name, others)
        if name in available and weight > 0 and (weight > best_weight or (best is None and weight == best_weight)):
            best, best_weight = name, weight
    return best


def quality(text: bytes) -> float:
    """The weight of an item; what is none counts as a refusal."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
