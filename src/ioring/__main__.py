"""``python -m ioring``, and the command ``ioring``."""

import sys


def main() -> None:
    try:
        from ioring.cli.main import commands
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("the commands need click: pip install 'ioring[serve]'")
    commands(prog_name="ioring")


if __name__ == "__main__":
    main()
