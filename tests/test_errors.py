import re

import numpy as np
import pytest

from galaxy_utils.errors import (
    ConfigurationError,
    DataError,
    DownloadError,
    GalaxyUtilsError,
    check_integer,
    check_number,
)


def test_a_message_tells_problem_place_expected_found_and_remedy():
    error = DataError("It is wrong.", where="a.h5", expected="3", found="4", remedy="Fetch it again.")
    assert str(error) == "It is wrong.\n  where: a.h5\n  expected: 3\n  found: 4\n  what to do: Fetch it again."
    assert str(DataError("Only this.", found=0)) == "Only this.\n  found: 0"


@pytest.mark.parametrize(
    ("error", "builtin"), [(ConfigurationError, ValueError), (DataError, ValueError), (DownloadError, OSError)]
)
def test_errors_are_caught_as_ours_and_as_the_builtin_ones(error, builtin):
    for kind in (GalaxyUtilsError, builtin):
        with pytest.raises(kind, match="problem"):
            raise error("problem")


@pytest.mark.parametrize("value", [0, 24, True, 16.0, "16", None])
def test_an_integer_that_is_none_too_small_or_no_multiple_is_refused_by_name(value):
    with pytest.raises(ConfigurationError, match=f"(?s)image_size.*multiple of 16, at least 16: why.*{value!r}"):
        check_integer("image_size", value, 16, "why", multiple_of=16)
    check_integer("image_size", np.int64(32), 16, "why", multiple_of=16)


def test_the_ends_of_an_interval_belong_to_it_or_not():
    for value, interval in ((0, "[0, 1)"), (0.5, "(0, 0.5]"), (1e300, "[0, inf)")):
        check_number("share", value, interval)
    for value, interval in ((1, "[0, 1)"), (0, "(0, 1]"), (np.inf, "[0, inf)"), (np.nan, "[0, 1]"), (True, "[0, 1]")):
        with pytest.raises(ConfigurationError, match=f"(?s)share.*{re.escape(interval)}.*{value!r}"):
            check_number("share", value, interval)
