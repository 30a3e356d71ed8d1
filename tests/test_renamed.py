import importlib
from pathlib import Path

import pytest

from galaxy_utils.renamed import RENAMED


def found(address):
    module, _, name = address.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_list_of_changes_has_them_all():
    changes = Path(__file__).parents[1].joinpath("CHANGES.md").read_text(encoding="utf-8")
    assert [old for old in RENAMED if old.rpartition(".")[2] not in changes] == []


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_warns_and_leads_to_todays(old):
    with pytest.warns(DeprecationWarning, match=RENAMED[old]):
        assert found(old) is found(RENAMED[old])


def test_a_name_that_never_was_is_an_attribute_error():
    for module in {old.rpartition(".")[0] for old in RENAMED}:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            found(f"{module}.nothing")
