import pytest
from integration.tasks.reference import Reference, build_reference

pytest.register_assert_rewrite("integration.tasks.comparison")


@pytest.fixture(scope="session")
def reference() -> Reference:
    return build_reference()
