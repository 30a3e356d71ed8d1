import pytest

from galaxy_utils.wording import counted


@pytest.mark.parametrize(
    ("given", "text"),
    [((0, "epochs"), "0 epochs"), ((1, "galaxies"), "1 galaxy"), ((1, "classes"), "1 class"), ((1, "MB"), "1 MB")],
)
def test_one_thing_is_not_called_by_its_plural(given, text):
    assert counted(*given) == text
