import re

from galaxy_utils import classes


def test_counts_add_up_to_the_official_file():
    assert classes.OFFICIAL_CLASS_COUNTS == (1081, 1853, 2645, 2027, 334, 2043, 1829, 2628, 1423, 1873)
    assert sum(classes.OFFICIAL_CLASS_COUNTS) == 17736
    assert round(100 * max(classes.OFFICIAL_CLASS_COUNTS) / 17736, 2) == 14.91


def test_labels_names_colours_and_markers_are_distinct():
    assert [galaxy_class.label for galaxy_class in classes.CLASSES] == list(range(10)) and classes.NUM_CLASSES == 10
    for column in (classes.CLASS_NAMES, classes.SHORT_CLASS_NAMES, classes.CLASS_COLOURS, classes.CLASS_MARKERS):
        assert len(set(column)) == 10
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in classes.CLASS_COLOURS)
