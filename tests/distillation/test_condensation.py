"""DC and DSA as settings of gradient matching."""

import pytest

from kerasticket.distillation import GradientMatching, dc, dsa
from kerasticket.distillation.condensation import LOOPS

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize(("ipc", "loops"), [(1, 1), (9, 1), (10, 10), (19, 10), (50, 50), (200, 50)])
def test_the_loops_are_those_of_the_next_smaller_number_of_images(ipc, loops):
    method = dc(ipc)
    assert (method.iterations, method.synthetic_passes) == LOOPS[loops]


def test_dsa_is_dc_from_real_images_with_augmentation():
    differing = {
        name for name in GradientMatching.__dataclass_fields__ if getattr(dc(1), name) != getattr(dsa(1), name)
    }
    assert differing == {"initialization", "matching", "training"}
    assert dsa(1).matching.siamese
    assert not dsa(1).training.siamese


@pytest.mark.parametrize("make", [dc, dsa])
def test_settings_can_be_changed_and_are_checked(make):
    assert make(10, networks=4, width=8).networks == 4
    with pytest.raises(ValueError, match="ipc >= 1"):
        make(0)
    with pytest.raises(ValueError, match="learning_rate > 0"):
        make(1, learning_rate=0.0)
