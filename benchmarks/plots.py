"""A picture per workload: its first metric per side, the rounds as dots; for servers the latencies beside it."""

from .results import column
from .workloads import METRICS

BAR = "#9db8d9"
SUBJECT_BAR = "#3f6fb5"
INK = "#222222"
QUANTILES = (("p50_us", "50 %"), ("p90_us", "90 %"), ("p99_us", "99 %"), ("p99.9_us", "99.9 %"))


def save(result, path):
    """Writes an SVG. Imports matplotlib only here: everything else works without it."""
    import matplotlib

    matplotlib.use("Agg")
    # Letters stay letters, and a picture of the same numbers is the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ioring", "font.family": "sans-serif"})
    from matplotlib import pyplot

    sides = [name for name, side in result["sides"].items() if side["rounds"]]
    if not sides:
        return
    with_latency = any("p99_us" in numbers for numbers in result["sides"][sides[0]]["rounds"])
    columns = 2 if with_latency else 1
    size = (11 if with_latency else 7, max(1.4 + 0.5 * len(sides), 3))
    figure, axes = pyplot.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)
    draw_bars(axes[0][0], result, sides)
    if with_latency:
        draw_latencies(axes[0][1], result, sides)
    settings = result["settings"]
    figure.suptitle(f"{result['title']} (bar: median; dots: its {settings['rounds']} rounds)", color=INK)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_bars(axis, result, sides):
    from matplotlib import ticker

    metric = result["columns"][0]
    heading, more_is_better = METRICS[metric]
    subject = next(iter(result["sides"]))
    for position, name in enumerate(reversed(sides)):
        median = column(result, name, metric).median
        axis.barh(position, median, height=0.6, color=SUBJECT_BAR if name == subject else BAR)
        values = [numbers[metric] for numbers in result["sides"][name]["rounds"]]
        axis.plot(values, [position] * len(values), "o", markersize=3, color=INK, alpha=0.6)
        label = f"{median:,.{0 if median >= 100 else 1 if median >= 10 else 2}f}"
        axis.annotate(label, (max(values), position), xytext=(6, 0), textcoords="offset points", va="center", color=INK)
    axis.set_yticks(range(len(sides)), [result["sides"][name]["label"] for name in reversed(sides)])
    axis.set_xlabel(f"{heading} ({'more' if more_is_better else 'less'} is better)")
    axis.set_xlim(0, axis.get_xlim()[1] * 1.15)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    tidy(axis)


def draw_latencies(axis, result, sides):
    from matplotlib import ticker

    for name in sides:
        spreads = [column(result, name, metric) for metric, _ in QUANTILES]
        medians = [found.median for found in spreads]
        [line] = axis.plot(range(len(QUANTILES)), medians, "o-", markersize=4, label=result["sides"][name]["label"])
        axis.fill_between(
            range(len(QUANTILES)),
            [found.least for found in spreads],
            [found.most for found in spreads],
            color=line.get_color(),
            alpha=0.15,
            linewidth=0,
        )
    axis.set_xticks(range(len(QUANTILES)), [label for _, label in QUANTILES])
    axis.set_xlabel("of the messages within")
    axis.set_ylabel("latency, us")
    axis.set_title("less is better; the band spans all rounds", fontsize="small", color=INK)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.yaxis.set_minor_formatter(ticker.NullFormatter())
    axis.legend(frameon=False)
    tidy(axis)


def tidy(axis):
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(colors=INK)
