"""Properties of any input: few inputs are tried in `make test`, many in `make test-long`."""

import inspect
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy


def holds(quick: int, long: int, **strategies: SearchStrategy) -> Callable[[Callable], Callable]:
    """Make two tests of a function that checks a property.

    The parameters that `strategies` do not draw are fixtures, or those of `parametrize`.

    Args:
      quick, long: how many inputs each test draws; the one with `long` has that mark.
    """

    def as_tests(check: Callable) -> Callable:
        def test(examples: int, **fixtures) -> None:
            def case(**drawn) -> None:
                check(**fixtures, **drawn)

            few_or_many = settings(max_examples=examples, deadline=None, derandomize=True)
            few_or_many(given(**strategies)(case))()

        test.__name__, test.__doc__, test.__module__ = (
            check.__name__,
            check.__doc__,
            check.__module__,
        )
        names = [name for name in inspect.signature(check).parameters if name not in strategies]
        kind = inspect.Parameter.KEYWORD_ONLY
        test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, kind) for name in ["examples", *names]]
        )
        counts = [quick, pytest.param(long, marks=pytest.mark.long)]
        return pytest.mark.parametrize("examples", counts)(test)

    return as_tests
