"""Objects that are noted without being kept."""

import gc

from mamtra.runtime.living import Living


class Thing:
    """Something."""


def test_only_what_is_held_is_told():
    living, one, two = Living(), Thing(), Thing()
    living.add(one, 3)
    living.add(two)
    assert living.all() == [(one, 3), (two, 0)]
    del one
    gc.collect()
    assert living.all() == [(two, 0)]
    living.add(two, 5)
    assert len(living._references) == 2  # what is gone is forgotten
