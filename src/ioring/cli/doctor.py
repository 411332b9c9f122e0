"""``ioring doctor``: what this kernel can do, or why there is no io_uring and what to do about it."""

import json
import sys
import textwrap
from collections.abc import Iterator

import click

import ioring


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Tell what io_uring can do here.

    Exits with 1 when io_uring is not available.
    """
    found = ioring.features()
    if as_json:
        click.echo(json.dumps({"ioring": ioring.__version__, **found.as_dict()}, indent=2))
    else:
        for line in _lines(found):
            click.echo(line)
    sys.exit(0 if found.available else 1)


def _lines(found: ioring.KernelFeatures) -> Iterator[str]:
    yield f"ioring         {ioring.__version__}"
    yield f"kernel         {found.kernel}"
    if not found.available:
        yield "io_uring       not available"
        yield from textwrap.wrap(found.reason or "", 100, initial_indent="  ", subsequent_indent="  ")
        return
    yield "io_uring       available"
    if found.io_uring_disabled is not None:
        meaning = {0: "everybody may use it", 1: "administrators and the io_uring group may use it", 2: "nobody may"}
        yield f"sysctl         kernel.io_uring_disabled = {found.io_uring_disabled}" + (
            f" ({meaning[found.io_uring_disabled]})" if found.io_uring_disabled in meaning else ""
        )
    for name, value in found.limits.items():
        shown = "no limit" if value < 0 else f"{value // 1024} KiB" if name == "memlock" else value
        yield f"limit          {name.replace('_', ' ')}: {shown}"
    for title, names in (
        ("setup flags", found.setup_flags),
        ("features", found.feature_flags),
        ("operations", found.operations),
        ("missing", found.missing or ("none",)),
    ):
        yield from textwrap.wrap(
            ", ".join(name.lower() for name in names),
            100,
            initial_indent=f"{title:<15}",
            subsequent_indent=" " * 15,
            break_on_hyphens=False,
        )
