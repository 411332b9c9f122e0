"""Accepts connections by a single request, and prints where each of them was put.

    python examples/accept.py [--port 7777]

Connect a few times, with `nc 127.0.0.1 7777` for example; Ctrl-C ends it. Each connection gets a slot of the ring's
file table. Nothing is closed here, so there is room for 8: the ninth client is turned away and the program ends with
ENFILE. examples/echo_server.py does better.
"""

import argparse
import socket
import sys

import ioring


def main() -> None:
    parser = argparse.ArgumentParser(description="Accept connections by a single request.")
    parser.add_argument("--port", type=int, default=7777, help="0 for any that is free (%(default)s)")
    server = socket.create_server(("127.0.0.1", parser.parse_args().port))
    with server, ioring.Ring(8, sq_thread_idle=2) as ring:
        ring.register_ring_fd()
        ring.register_files_sparse(8)
        sqe = ring.get_sqe()
        sqe.prep_multishot_accept_direct(server)  # one SQE, many accepts
        sqe.user_data = "accept"  # any object; it comes back with every completion
        assert ring.submit() == 1
        print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
        while True:
            cqe = ring.wait_cqe()
            slot = cqe.result()  # an OSError when the kernel's answer is negative
            print(cqe.user_data, slot, cqe.more, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"accept.py: {error}")
