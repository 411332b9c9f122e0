"""Which folder answers a request, by the beginning of its path."""


class Mounts:
    """Functions by the beginning of a path: called with a target, gives the function or None.

    Args:
        places: pairs of a prefix as bytes, such as ``b"/static"``, and a function; longer prefixes first.
    """

    def __init__(self, places):
        self.places = [(prefix, (prefix + b"/", prefix + b"?"), function) for prefix, function in places]

    def __call__(self, target: bytes):
        prefix: bytes
        below: tuple
        for prefix, below, function in self.places:
            if target.startswith(below) or target == prefix:
                return function
        return None
