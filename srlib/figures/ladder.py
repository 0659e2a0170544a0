"""The repair ladder of notebooks 04 to 07: from a listing to the shipped network, edit by edit."""

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from srlib.training.experiments import long_run

__all__ = ["draw_ladder", "ladder"]

# Rung, edit, its place in the formula, and the long run that scored it: experiment and candidate.
_RUNGS = (
    (1, "interpolation in front", "", "04_listing", "rung 1, the listing"),
    (2, "16 channels in every layer", "", "05_ladder", "rung 2: ten plain layers"),
    (3, "an addition in each block", r"$F_{res}$", "05_ladder", "rung 3: the addition"),
    (
        *(4, "a skip over all blocks", r"$x + F_{res}(x)$"),
        *("05_ladder", "rung 4: a skip over all blocks"),
    ),
    (
        *(5, "deconvolution at the end instead", r"$W_{out} * \mathrm{ReLU}(W_{res} * \ldots)$"),
        *("06_ladder", "rung 5: deconvolution at the end"),
    ),
    (
        *(6, "the bicubic image before the sigmoid", r"inside $\sigma$"),
        *("07_ladder", "rung 6: the image skip"),
    ),
)


def ladder() -> pd.DataFrame:
    """Return what the long runs say of each rung, x4; the index is its number.

    Columns: edit, place (in the formula, as mathtext), steps, mean, lowest and highest score of the
    seeds in dB, first_layer_gradient (before training, its norm), multiply_adds (for an LR pixel,
    forward), parameters.
    """
    rows = {}
    for number, edit, place, experiment, candidate in _RUNGS:
        run = long_run(experiment)
        steps, mean, lowest, highest = run.table().loc[candidate]
        start = run.record["start"][candidate]
        rows[number] = {
            **{"edit": edit, "place": place, "steps": int(steps)},
            **{"mean (dB)": mean, "lowest": lowest, "highest": highest},
            "first_layer_gradient": start["first_layer_gradient"],
            "multiply_adds": start["multiply_adds_per_lr_pixel"],
            "parameters": run.record["parameters"][candidate],
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "rung"
    return table


@style.context("srlib.course", after_reset=True)
def draw_ladder(bicubic_db: float, *, shipped_db: float | None = None) -> Figure:
    """Draw the ladder: a line a rung, with its edit, its score and what it costs.

    Parameters
    ----------
    bicubic_db : float
        What interpolation alone scores on the same pictures.
    shipped_db : float, optional
        What the shipped network reaches: larger, with another end, trained for hours.
    """
    table = ladder()
    places = list(table.index)
    labels = [
        f"{row.Index}  {row.edit}" + (f"\n{row.place}" if row.place else "")
        for row in table.itertuples()
    ]
    figure = Figure(figsize=(11, 4.4))
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=(2.2, 1, 1))
    mean = table["mean (dB)"]
    reach = [mean - table["lowest"], table["highest"] - mean]
    left.errorbar(mean, places, xerr=reach, fmt="o-", color="C0", capsize=4, linewidth=1.2)
    left.axvline(bicubic_db, color="black", linestyle=":")
    left.annotate(
        "bicubic ", (bicubic_db, 1), ha="right", va="center", bbox={"fc": "white", "ec": "none"}
    )
    left.set(title="score, mean and range", xlabel="PSNR of the test crops (dB)")
    middle.plot(table["first_layer_gradient"], places, "o-", color="C0", linewidth=1.2)
    middle.set(title="first layer's gradient", xlabel="norm, untrained", xscale="log")
    right.plot(table["multiply_adds"], places, "o-", color="C0", linewidth=1.2)
    right.set(title="cost of an LR pixel", xlabel="multiply-adds", xscale="log")
    if shipped_db is not None:
        left.plot(shipped_db, places[-1] + 1, "*", color="C1", markersize=14)
        labels.append("srresnet_small_x4: larger,\nanother end, trained for hours")
    left.set_yticks(range(1, len(labels) + 1), labels)
    left.set_ylim(0.5, len(labels) + 0.5)
    return figure
