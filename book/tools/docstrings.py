"""A small Sphinx extension: the package's docstrings mark code as Markdown does, with single backticks."""

import re

# `code`, but not ``code``; what follows must not be taken for a reference such as `code`_.
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def as_restructured_text(app, what, name, obj, options, lines):
    """Change the lines of a docstring in place, before napoleon has seen its sections."""
    pieces = CODE.split("\n".join(lines))
    for number, piece in enumerate(pieces):
        if number % 2:  # what stood between backticks
            pieces[number] = "\\ ``" + " ".join(piece.split()) + "``\\ "
        else:
            pieces[number] = re.sub(r"([|*])(?=\w)", r"\\\1", piece)
    text = "".join(pieces)
    lines[:] = text.split("\n")


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
    return {"parallel_read_safe": True}
