"""What all tests share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_figure_outlives_its_test():
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None:
        matplotlib.rcParams["figure.max_open_warning"] = 0  # some tests draw every picture at once
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
