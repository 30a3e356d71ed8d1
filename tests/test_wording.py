import pytest

from galaxy_utils.wording import counted


@pytest.mark.parametrize(
    ("number", "plural", "text"),
    [
        (0, "epochs", "0 epochs"),
        (1, "epochs", "1 epoch"),
        (1, "galaxies", "1 galaxy"),
        (1, "classes", "1 class"),
        (1, "MB", "1 MB"),
        (3000, "galaxies", "3,000 galaxies"),
    ],
)
def test_one_thing_is_not_called_by_its_plural(number, plural, text):
    assert counted(number, plural) == text
