"""All workloads there are. To add one, write a function or an entry in the module that fits and list it here."""

import fnmatch

from .files import FILE_WORKLOADS
from .http_servers import HTTP_WORKLOADS
from .loops import LOOP_WORKLOADS
from .rings import RING_WORKLOADS

WORKLOADS = (*RING_WORKLOADS, *LOOP_WORKLOADS, *FILE_WORKLOADS, *HTTP_WORKLOADS)


def by_name(patterns):
    """The workloads whose names match, in the order of the registry; all when there are no patterns."""
    known = [workload.name for workload in WORKLOADS]
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise SystemExit(f"no workload {pattern!r}; there are: {', '.join(known)}")
    return [workload for workload in WORKLOADS if not patterns or matches(workload.name, patterns)]


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
