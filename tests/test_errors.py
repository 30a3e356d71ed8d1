import pytest

from galaxy_utils.errors import ConfigurationError, DataError, DownloadError, GalaxyUtilsError


def test_a_message_tells_problem_place_expected_found_and_remedy():
    error = DataError("It is wrong.", where="a.h5", expected="3", found="4", remedy="Fetch it again.")
    assert str(error).splitlines() == [
        "It is wrong.",
        "  where: a.h5",
        "  expected: 3",
        "  found: 4",
        "  what to do: Fetch it again.",
    ]
    assert str(DataError("Only this.", found=0)) == "Only this.\n  found: 0"


@pytest.mark.parametrize(
    ("error", "builtin"), [(ConfigurationError, ValueError), (DataError, ValueError), (DownloadError, OSError)]
)
def test_errors_are_caught_as_ours_and_as_the_builtin_ones(error, builtin):
    for kind in (GalaxyUtilsError, builtin):
        with pytest.raises(kind, match="problem"):
            raise error("problem")
