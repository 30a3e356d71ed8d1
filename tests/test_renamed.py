import importlib

import pytest

from galaxy_utils.renamed import RENAMED


@pytest.mark.parametrize(("module", "old"), [(module, old) for module, names in RENAMED.items() for old in names])
def test_an_old_name_warns_and_leads_to_todays(module, old):
    home, _, own = RENAMED[module][old].rpartition(".")
    with pytest.warns(DeprecationWarning, match=RENAMED[module][old]):
        found = getattr(importlib.import_module(module), old)
    assert found is getattr(importlib.import_module(home), own)


def test_a_name_that_never_was_is_an_attribute_error():
    for module in RENAMED:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = importlib.import_module(module).nothing
