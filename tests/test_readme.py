"""The README's Python runs as it stands."""

import re
from pathlib import Path

from PIL import Image

README = Path(__file__).resolve().parents[1] / "README.md"


def test_lines_of_python_run_as_they_stand(common_folder, monkeypatch, tmp_path):
    """A newcomer's first lines: load, prepare and split, fit; then save, and classify own images."""
    # The survey of the smoke book, which all builds of this run share.
    monkeypatch.setenv("GALAXY_UTILS_CACHE", str(common_folder / "cache_of_builds"))
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    names = {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_images").mkdir()
    for number in range(5):
        Image.effect_noise((64, 64), 60).save(tmp_path / "my_images" / f"{number}.jpg")
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    run, galaxies, parts = (names[name] for name in ("run", "galaxies", "parts"))
    # Trained on what the page says, for as long as its profile says, and it learned something.
    assert run.epochs == 2 and len(parts.train) + len(parts.validation) + len(parts.test) == len(galaxies) == 400
    assert run.history["loss"][1] < run.history["loss"][0] < 2.5
    assert len((tmp_path / "catalogue.csv").read_text(encoding="utf-8").splitlines()) == 6


def test_pictures_and_pages_that_it_names_exist():
    """No dead link into the repository."""
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    for link in links:
        assert (README.parent / link).exists(), link
