"""Galaxies that the tests of this folder train on."""

import pytest
from toy_galaxies import toy_galaxies

import galaxy_utils as gu


@pytest.fixture(scope="module")
def galaxies():
    """Small galaxies of four classes with some noise; a file that needs others defines its own."""
    return toy_galaxies(noise=20)


@pytest.fixture(scope="module")
def split(galaxies):
    """A split by sky of whatever `galaxies` the file has."""
    return gu.split(galaxies, fractions=(0.6, 0.2, 0.2))
