"""The compared ways to decode a photograph have the same result."""

import numpy as np

from benchmarks.peers.forwarding import pixels_of
from benchmarks.photographs import measure
from devstack.photos import photo


def test_both_ways_lead_to_the_same_tensor() -> None:
    data = measure.enlarged(photo("coffee"), 1200)

    naive, reference = pixels_of(data)[0], measure.reference(data)

    np.testing.assert_allclose(naive, reference, atol=1e-5)
    assert np.abs(measure.gateway(data) - reference).mean() * 128 < 1.5
