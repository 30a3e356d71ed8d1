"""The page that lists every public function of the package, written from the package itself; Sphinx fills it in.

`autosummary` makes the tables, `autodoc` the entries, both from the docstrings, so nothing here can fall behind them.
"""

import inspect

import galaxy_utils

MODULES = ("models", "augmentation", "evaluation", "plots")
TITLES = {
    "galaxy_utils": "Data, training, results",
    "models": "Networks",
    "augmentation": "Augmentation and generated images",
    "evaluation": "Scores and comparisons",
    "plots": "Figures",
}
HEAD = """# What the package offers

Every chapter builds in its cells what it is about; `galaxy_utils` holds the rest, and what several chapters need. This
page is made from the docstrings. In the examples, `gu` is `galaxy_utils`, `np` is NumPy, `galaxies` a small simulated
survey, prepared to 32 pixels, and `parts` its split.
"""


def public_names():
    """Return `{module: [name]}` of what is public: functions and classes that a package names or imports."""
    names = {"galaxy_utils": [], **{module: [] for module in MODULES}}
    for module in names:
        home = galaxy_utils if module == "galaxy_utils" else getattr(galaxy_utils, module)
        listed = getattr(home, "__all__", None) or [name for name in vars(home) if not name.startswith("_")]
        for name in sorted(listed, key=str.lower):
            value = getattr(home, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                own = module != "plots" or value.__module__ == home.__name__
                names[module] += [name] if own else []
    return names


def api_page():
    """Return the page, in Markdown with directives for Sphinx."""
    parts = [HEAD]
    for module, names in public_names().items():
        inner = module != "galaxy_utils"
        home = getattr(galaxy_utils, module) if inner else galaxy_utils
        lines = [f".. currentmodule:: {home.__name__}", "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in names]
        for name in names:
            if inspect.isclass(getattr(home, name)):
                lines += ["", f".. autoclass:: {name}", "   :members:", "   :noindex:"]
            else:
                lines += ["", f".. autofunction:: {name}"]
        parts.append(f"## {TITLES[module]}\n\n```{{eval-rst}}\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)
