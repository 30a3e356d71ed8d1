"""What the prose pages say about the book itself is so."""

import json
import re
from pathlib import Path

import yaml

import galaxy_utils

REPOSITORY = Path(__file__).resolve().parents[2]
BOOK = REPOSITORY / "book"


def needed_chapters():
    """{number of a chapter: numbers of the chapters whose results it reads} as the notebooks' metadata say."""
    needed = {}
    for path in sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb")):
        needs = json.loads(path.read_text(encoding="utf-8"))["metadata"]["galaxy_book"]["needs"]
        needed[int(path.name[:2])] = [int(name[:2]) for name in needs]
    return needed


def test_the_path_shows_every_chapter_in_its_part_and_what_it_takes_up():
    path = (BOOK / "index.md").read_text(encoding="utf-8").partition("chapter-path\n")[2].partition("\n:::")[0]
    stops = re.split(r"^(?=\d+\. )", path, flags=re.MULTILINE)
    taken_up = {}
    for stop in stops[1:]:
        number, link = re.match(r"(\d+)\. \{doc\}`[^<]+<(notebooks/[^>]+)>`", stop).groups()
        assert int(link[len("notebooks/") :][:2]) == int(number)
        taken_up[int(number)] = [
            int(needed) for needed in re.findall(r"\d+", (re.findall(r"\*Takes up (.+?)\*", stop) or [""])[0])
        ]
    assert taken_up == needed_chapters()

    contents = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    shown = re.findall(r"^([A-Z][a-z ]+)$|<(notebooks/[^>]+)>", path, flags=re.MULTILINE)
    parts = [part for part in contents["parts"] if "notebooks/" in part["chapters"][0]["file"]]
    listed = [entry for part in parts for entry in [part["caption"], *(one["file"] for one in part["chapters"])]]
    assert [caption or link for caption, link in shown] == listed


def test_the_book_is_cited_as_the_citation_file_says():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    config = yaml.safe_load((REPOSITORY / "_config.yml").read_text(encoding="utf-8"))
    entry = re.search(r"```bibtex\n(.*?)```", (BOOK / "credits.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    fields = {name: value.strip("{}") for name, value in re.findall(r"^  (\w+) = (\{.*\}),?$", entry, re.MULTILINE)}
    assert fields["title"] == citation["title"]
    assert fields["author"] == " and ".join(author["name"] for author in citation["authors"])
    assert fields["version"] == citation["version"] == galaxy_utils.__version__
    assert fields["year"] == config["copyright"]
    assert config["author"].casefold() == fields["author"].casefold()  # there it stands in a sentence, after "By"
    assert citation["title"].startswith(config["title"])


def test_entries_of_the_glossary_are_in_alphabetical_order():
    """As readers see them; in the file too, so that two people do not write the same entry."""
    text = (BOOK / "glossary.md").read_text(encoding="utf-8").partition(":sorted:\n\n")[2]
    words = [re.sub("é", "e", entry.split("\n")[0].lower()) for entry in text.strip("`\n").split("\n\n")]
    assert len(words) > 90
    assert words == sorted(words)


def test_the_bibliography_says_where_to_find_what_it_lists():
    """Each entry has a DOI, but for a manuscript that was never published and two journals that gave none."""
    entries = re.split(r"^@", (BOOK / "references.bib").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    without = [entry for entry in entries if not re.search(r"^  doi *= \{10\.\d+/", entry, re.MULTILINE)]
    assert {entry.partition("{")[2].partition(",")[0] for entry in without} == {
        "paper_2",
        "srivastava_2014",
        "holm_1979",
    }
