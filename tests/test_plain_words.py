"""What a standardised difference says about people."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metamiq as mm


def test_against_a_simulated_pair_of_groups():
    # Synthetic: two large normal samples half an SD apart.
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.5, 1, 200_000), rng.normal(0, 1, 200_000)
    w = mm.plain_words(0.5, base_rate=0.2)
    assert w.superiority == pytest.approx(np.mean(a > b), abs=0.004)
    assert w.u3 == pytest.approx(np.mean(b < 0.5), abs=0.004)
    cut = np.quantile(b, 0.8)
    assert 1 / w.nnt == pytest.approx(np.mean(a > cut) - 0.2, abs=0.004)
    density = [np.histogram(x, bins=np.linspace(-6, 7, 131))[0] / 200_000 for x in (a, b)]
    assert w.overlap == pytest.approx(np.minimum(*density).sum(), abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 3) | st.floats(-3, -0.001), st.floats(0.01, 0.99))
def test_swapping_the_groups(g, base_rate):
    w, turned = mm.plain_words(g, base_rate=base_rate), mm.plain_words(-g, base_rate=base_rate)
    assert w.superiority + turned.superiority == pytest.approx(1)
    assert w.overlap == turned.overlap
    assert np.sign(w.nnt) == -np.sign(turned.nnt) == np.sign(g)
    # Swapping responders and non-responders turns the effect round, with the same number needed to treat.
    assert mm.plain_words(-g, base_rate=1 - base_rate).nnt == pytest.approx(-w.nnt, rel=1e-6)


def test_sentences():
    text = mm.plain_words(0.59, base_rate=0.4, scale="Y-BOCS", sd=5.0).text()
    assert "66% of such pairs" in text
    assert "On Y-BOCS with SD 5 that is 2.9 points" in text or "that is 3.0 points" in text
    assert "rules of thumb" in text
    assert "treating 4.3 people as group 1" in text
    assert "no number needed to treat" in mm.plain_words(0, base_rate=0.4).text()
    assert "as group 2 was treated" in mm.plain_words(-0.5, base_rate=0.4).text()
    assert "responder" not in mm.plain_words(0.5).text()  # no base rate is made up


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"g": np.nan}, "g must be a finite number"),
        ({"g": 1, "base_rate": 20}, "between 0 and 1"),
        ({"g": 1, "sd": 0}, "sd must be greater than 0"),
        ({"g": 1, "scale": "PSWQ"}, "need its SD"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mm.plain_words(**arguments)
