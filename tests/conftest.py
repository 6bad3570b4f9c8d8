"""What all tests share."""

import sys

import pytest
from hypothesis import settings

# The same examples on each run, so that a red run can be repeated; `--hypothesis-profile=search` looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("search", derandomize=False)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def no_figure_outlives_its_test():
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None:
        matplotlib.rcParams["figure.max_open_warning"] = 0  # some tests draw every picture at once
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
