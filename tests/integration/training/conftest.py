from collections.abc import Iterator

import pytest
from support.warm_arno import WarmArno


@pytest.fixture(scope="session")
def warm_arno() -> Iterator[WarmArno]:
    """The `arno` command, in one process for all tests of this folder."""
    warm = WarmArno()
    yield warm
    warm.close()
