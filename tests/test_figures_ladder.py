import pytest

from srlib.figures.ladder import draw_ladder, ladder
from srlib.training.experiments import long_run


def test_each_rung_has_the_scores_of_its_long_run():
    table = ladder()
    assert table.index.tolist() == [1, 2, 3, 4, 5, 6]
    rung_3 = long_run("05_ladder").scores().loc["rung 3: the addition"]
    assert table.loc[3, "mean (dB)"] == pytest.approx(rung_3.mean())
    assert (table.loc[3, "lowest"], table.loc[3, "highest"]) == (rung_3.min(), rung_3.max())
    assert (table["lowest"] <= table["mean (dB)"]).all()
    assert (table["mean (dB)"] <= table["highest"]).all()
    # Small networks trained alike, but for the listing, of which a step is too dear.
    assert table["steps"].tolist()[1:] == [2000] * 5
    # Rung 3 adds no weight, rung 5 moves the work to the small picture.
    assert table.loc[3, "parameters"] == table.loc[2, "parameters"]
    assert table.loc[5, "multiply_adds"] < table.loc[4, "multiply_adds"] / 5
    assert table.loc[3, "first_layer_gradient"] > 100 * table.loc[2, "first_layer_gradient"]


def test_the_picture_shows_what_the_table_says():
    figure = draw_ladder(27.0, shipped_db=30.5)
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 7 and labels[0].startswith("1  interpolation in front")
    (points,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert points.get_xdata().tolist() == ladder()["mean (dB)"].tolist()
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    assert star.get_xdata().tolist() == [30.5]
    assert len(draw_ladder(27.0).axes[0].get_yticklabels()) == 6
