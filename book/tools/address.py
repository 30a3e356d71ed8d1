"""Write the repository's address, one setting of `pyproject.toml`, wherever the book names it.

    python book/tools/address.py           # rewrite badges, set-up cells, the book's links, README and CITATION.cff
    python book/tools/address.py --check   # only say which files do not agree; exit status 1 if any

Standard library only: it runs before anything is installed.
"""

import argparse
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from galaxy_utils.errors import ConfigurationError, GalaxyUtilsError  # noqa: E402

COLAB = "https://colab.research.google.com"
# An address may lie on any server that git knows; Colab opens notebooks of public GitHub repositories only.
ADDRESS = re.compile(r"(https|file)://[A-Za-z0-9._~/-]+[A-Za-z0-9_~-]")
SITE = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*/?")
GITHUB = re.compile(r"https://github\.com/(?P<name>[A-Za-z0-9-]+/[A-Za-z0-9._-]+)")
BADGE, SET_UP = "open-in-colab", "set-up"
CHAPTER_OPTIONS = 'extra="chapters", keep_on_drive=False'
# An assignment also needs Otter. It gets no badge: what lies in the repository is the teacher's copy.
ASSIGNMENT_OPTIONS = 'extra="assignments"'
# Both are for a notebook that somebody runs. The rendered book has a button on every page instead.
METADATA = {"tags": ["remove-cell"]}

INSTALL = """\
import importlib.util

if importlib.util.find_spec("galaxy_utils") is None:
    address = "git+{address.repository}@{address.reference}"
    %pip install --quiet --no-deps {{address}}

import galaxy_utils

galaxy_utils.set_up("{address.version}", {options})"""

NO_ADDRESS = """\
import importlib.util

if importlib.util.find_spec("galaxy_utils") is None:
    raise ModuleNotFoundError(
        "galaxy_utils is not installed, and this copy of the book does not "
        "say where to get it. If you have the book's folder, run: "
        "%pip install /path/to/that/folder"
    )
import galaxy_utils

galaxy_utils.set_up("{address.version}", {options})"""


@dataclass(frozen=True)
class Address:
    """Where the book lies on the web.

    Attributes:
        repository: Address of its repository, or `""`.
        reference: Branch or tag.
        version: Version of the package in it.
        site: Address of the rendered pages, ending in a slash, or `""`.
    """

    repository: str
    reference: str
    version: str
    site: str = ""

    @property
    def github_name(self):
        """`"owner/name"`, or `None` where the repository is not on GitHub."""
        found = GITHUB.fullmatch(self.repository)
        return found["name"] if found else None

    def open_in_colab(self, notebook):
        """Address that opens a notebook in Colab, or `None`; `notebook` is its path in the repository."""
        return self.github_name and f"{COLAB}/github/{self.github_name}/blob/{self.reference}/{notebook}"

    def badge(self, notebook, text="Open this chapter in Colab"):
        """Markdown of a badge that opens a notebook in Colab, or `None`."""
        link = self.open_in_colab(notebook)
        return link and f"[![{text}]({COLAB}/assets/colab-badge.svg)]({link})"


def read_address(checkout=REPOSITORY):
    """Read the address from `pyproject.toml` and the version from the package.

    Raises:
        ConfigurationError: The setting is missing or no address.
    """
    path = checkout / "pyproject.toml"
    setting = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("galaxy_book", {})
    repository, reference = setting.get("repository"), setting.get("reference")
    valid = isinstance(repository, str) and (not repository or ADDRESS.fullmatch(repository))
    if not valid or repository.endswith(".git"):
        raise ConfigurationError(
            "This is no address of a repository.",
            where=f"{path}, tool.galaxy_book.repository",
            expected='"" or one such as "https://github.com/OWNER/NAME", without .git or / at its end',
            found=repr(repository),
        )
    if not isinstance(reference, str) or not re.fullmatch(r"[A-Za-z0-9._/-]+", reference):
        raise ConfigurationError(
            "This is no branch or tag.", where=f"{path}, tool.galaxy_book.reference", found=repr(reference)
        )
    site = setting.get("site", "")
    if not isinstance(site, str) or (site and not SITE.fullmatch(site)):
        raise ConfigurationError(
            "This is no address of a site.",
            where=f"{path}, tool.galaxy_book.site",
            expected='"" or one such as "https://OWNER.github.io/NAME"',
            found=repr(site),
        )
    source = (checkout / "galaxy_utils" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)[1]
    return Address(repository, reference, version, site and f"{site.rstrip('/')}/")


def rewritten(checkout=REPOSITORY):
    """Return `{path: text}` of the files that name the address, as they should read."""
    address = read_address(checkout)
    texts = {}
    for path in sorted((checkout / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        badge = address.badge(f"notebooks/{path.name}")
        texts[path] = _with_set_up(notebook, address, CHAPTER_OPTIONS, badge)
    first = next(iter(texts))
    for path in sorted((checkout / "notebooks" / "assignments").glob("a[0-9]*.ipynb")):
        texts[path] = _with_set_up(json.loads(path.read_text(encoding="utf-8")), address, ASSIGNMENT_OPTIONS)
    texts[checkout / "_config.yml"] = _config(checkout / "_config.yml", address)
    texts[checkout / "README.md"] = _readme(checkout / "README.md", address, f"notebooks/{first.name}")
    texts[checkout / "CITATION.cff"] = _citation(checkout / "CITATION.cff", address)
    index = checkout / "book" / "index.md"
    texts[index] = _landing_page(index, address, f"notebooks/{first.name}")
    return texts


def _with_set_up(notebook, address, options, badge=None):
    """A notebook's text with the set-up cell as its first code cell, and a badge before it."""
    cells = [cell for cell in notebook["cells"] if cell.get("id") not in (BADGE, SET_UP)]
    source = (INSTALL if address.repository else NO_ADDRESS).format(address=address, options=options)
    new = [
        {"cell_type": "code", "execution_count": None, "id": SET_UP, "metadata": METADATA, "outputs": []}
        | {"source": source.splitlines(keepends=True)}
    ]
    if badge:
        new.insert(0, {"cell_type": "markdown", "id": BADGE, "metadata": METADATA, "source": [badge]})
    place = next(number for number, cell in enumerate(cells) if cell["cell_type"] == "code")
    cells = cells[:place] + new + cells[place:]
    return json.dumps({**notebook, "cells": cells}, indent=1, ensure_ascii=False) + "\n"


def _config(path, address):
    lines = []
    if address.repository:
        lines += [f"repository_url: {address.repository}", f"repository_branch: {address.reference}"]
        lines += ["use_repository_button: true"]
    if address.github_name:
        lines += [f"launch_buttons: {{colab_url: {COLAB}}}"]
    begin, end = "      # address, written by `make address`", "      # end of address"
    return _replace_block(path, begin, end, [f"      {line}" for line in lines])


def _readme(path, address, notebook):
    badge = address.badge(notebook, "Open the first chapter in Colab")
    begin, end = "<!-- address, written by `make address` -->", "<!-- end of address -->"
    text = _replace_block(path, begin, end, [badge] if badge else [])
    repository = address.repository or "<address of this repository>"
    return _replace_line(
        path, text, r"git clone .* galaxies && cd galaxies", f"git clone {repository} galaxies && cd galaxies"
    )


def _citation(path, address):
    lines = [f"version: {address.version}"]
    lines += [f"repository-code: {address.repository}"] if address.repository else []
    lines += [f"url: {address.site}"] if address.site else []
    return _replace_block(path, "# address, written by `make address`", "# end of address", lines)


def _landing_page(path, address, notebook):
    link = address.open_in_colab(notebook)
    begin, end = "% address, written by `make address`", "% end of address"
    return _replace_block(path, begin, end, ["", f"[Open it in Colab]({link})", ""] if link else [])


def _replace_block(path, begin, end, lines):
    text = path.read_text(encoding="utf-8")
    block = re.compile(rf"^({re.escape(begin)}\n).*?^({re.escape(end)})$", re.MULTILINE | re.DOTALL)
    return _replaced(path, block, "".join(f"{line}\n" for line in lines), text)


def _replace_line(path, text, pattern, replacement):
    new, count = re.subn(rf"^{pattern}$", replacement, text, flags=re.MULTILINE)
    if count != 1:
        raise ConfigurationError("A line that names the address is missing.", where=path, expected=pattern)
    return new


def _replaced(path, block, inside, text):
    new, count = block.subn(lambda found: found[1] + inside + found[2], text)
    if count != 1:
        raise ConfigurationError("The lines around the address are missing.", where=path, expected=block.pattern)
    return new


def differing(checkout=REPOSITORY):
    """Return `{path: text}` of the files that do not read as they should."""
    return {path: text for path, text in rewritten(checkout).items() if path.read_text(encoding="utf-8") != text}


def main():
    """Command line: 0 when all files agree with the setting, 1 with a message when not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say which files do not agree")
    options = parser.parse_args()
    try:
        changes = differing()
    except GalaxyUtilsError as error:
        print(error, file=sys.stderr)
        return 1
    for path, text in changes.items():
        print(f"{'differs' if options.check else 'written'}: {path.relative_to(REPOSITORY)}")
        if not options.check:
            partial = path.with_name(f"{path.name}.partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)  # an interrupted run leaves no half notebook
    return int(options.check and bool(changes))


if __name__ == "__main__":
    sys.exit(main())
