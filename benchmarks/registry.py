"""All workloads there are. To add one, write a function or an entry in the module that fits and list it here."""

from .loops import LOOP_WORKLOADS
from .rings import RING_WORKLOADS

WORKLOADS = (*RING_WORKLOADS, *LOOP_WORKLOADS)


def by_name(names):
    """The workloads of these names, in the order of the registry; all when there are none."""
    known = [workload.name for workload in WORKLOADS]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no workload {unknown[0]!r}; there are: {', '.join(known)}")
    return [workload for workload in WORKLOADS if not names or workload.name in names]
