import pytest
from integration.vocabulary.reference import Reference, build_reference

pytest.register_assert_rewrite("integration.vocabulary.comparison")


@pytest.fixture(scope="session")
def reference() -> Reference:
    return build_reference()
