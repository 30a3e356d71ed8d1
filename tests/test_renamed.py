import importlib

import pytest

from galaxy_utils.renamed import RENAMED


def found(address):
    module, _, name = address.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_warns_and_leads_to_todays(old):
    with pytest.warns(DeprecationWarning, match=RENAMED[old]):
        assert found(old) is found(RENAMED[old])


def test_a_name_that_never_was_is_an_attribute_error():
    for module in {old.rpartition(".")[0] for old in RENAMED}:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            found(f"{module}.nothing")
