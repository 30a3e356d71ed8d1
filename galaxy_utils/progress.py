"""One progress bar for long work: live in a terminal, in Jupyter and on Colab; one clean line once it is done."""

import io
import sys

from tqdm.std import tqdm

from galaxy_utils.wording import counted


class _NotebookBar(tqdm):
    """A bar that redraws one text output, so that a stored notebook keeps only its last line.

    tqdm's own notebook bar is a widget, which a rendered book shows as an error.

    Attributes:
        note: A line that stands under the bar as long as it is live.
    """

    note = ""

    def __init__(self, *arguments, **options):
        from IPython.display import display

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)
        super().__init__(*arguments, file=io.StringIO(), ncols=88, **options)

    def display(self, msg=None, pos=None):
        if not getattr(self, "_closing", False):
            self._handle.update({"text/plain": f"{msg or self}\n{self.note}".rstrip()}, raw=True)

    def close(self):
        if not self.disable:
            spent, told = self.format_dict["elapsed"], counted(self.n, self.unit)
            done = f"{self.desc.removesuffix(': ')}: {told} in {spent:.1f} s" + f", {self.postfix}" * bool(self.postfix)
            # What did not begin leaves no line: whoever ended it says why.
            self._handle.update({"text/plain": done if self.n else ""}, raw=True)
            self._closing = True
        super().close()


def in_notebook():
    """Whether this is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def progress_bar(total, description, unit="galaxies", disable=None):
    """Return a progress bar: a context manager with `update`, `set_description_str` and `set_postfix_str`.

    Args:
        total: How many units the whole work has.
        description: What is being done, as a short phrase.
        unit: What is being counted, in the plural.
        disable: True shows nothing. Logs and pipes get no bar by default: a file of carriage returns helps nobody.
    """
    options = {"total": total, "desc": description, "unit": unit, "mininterval": 0.3}
    if in_notebook() and not disable:
        return _NotebookBar(**options)
    return tqdm(**options, disable=disable, dynamic_ncols=True)
