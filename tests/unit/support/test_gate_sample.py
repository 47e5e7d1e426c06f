"""The gate runs a sample of large parametrized tests, and the marker `matrix` covers the rest."""

from __future__ import annotations

import pytest

from tests.support.gate_sample import mark_the_rest

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no installed plugins for the collected file: they are not needed, and one of them opens a socket."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def items_of(pytester: pytest.Pytester, every: int) -> list[pytest.Item]:
    pytester.makeini("[pytest]\nmarkers = matrix\n gate_sample\n")
    items = pytester.getitems(
        "import pytest\n"
        "@pytest.mark.parametrize('a', range(5))\n"
        "@pytest.mark.parametrize('b', range(4))\n"
        f"@pytest.mark.gate_sample({every})\n"
        "def test_large(a, b): pass\n"
        "@pytest.mark.parametrize('a', range(5))\n"
        "def test_other(a): pass\n"
    )
    mark_the_rest(items)
    return items


def test_one_case_in_three_remains(pytester: pytest.Pytester) -> None:
    in_gate = [item.name for item in items_of(pytester, 3) if not item.get_closest_marker("matrix")]
    assert len([name for name in in_gate if name.startswith("test_large")]) == 7
    assert len([name for name in in_gate if name.startswith("test_other")]) == 5


def test_the_sample_is_always_the_same(pytester: pytest.Pytester) -> None:
    first, second = ([bool(item.get_closest_marker("matrix")) for item in items_of(pytester, 2)] for _ in range(2))
    assert first == second


def test_a_sample_of_all_cases_is_an_error(pytester: pytest.Pytester) -> None:
    with pytest.raises(AssertionError, match="leave nothing out"):
        items_of(pytester, 1)
