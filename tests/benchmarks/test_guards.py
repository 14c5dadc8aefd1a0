"""Rows of tokens, and the limits that would have cut them."""

import guards


def test_rows_and_limits():
    assert guards.longest_row([1, 1, 2, 2, 2, 1]) == 3 and guards.longest_row([]) == 0
    assert guards.longest_row([True, False, False, True, True], of=True) == 2
    runs = [([5, 5, 5, 1], False), ([1, 2] * 6, True)]
    found = guards.summarise(runs, frozenset([1, 2]))
    assert found["longest_repeat"] == 3 and found["longest_silence"] == 12 and found["misread"] == 1
    assert found["most_repeats"] == [[1, 1, 0], [2, 1, 0], [3, 0, 0], [4, 0, 0]]
    assert found["most_silence"][:2] == [[5, 1, 1], [10, 1, 1]] and found["most_silence"][2] == [15, 0, 0]
