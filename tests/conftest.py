"""What all tests share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_figure_outlives_its_test():
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
