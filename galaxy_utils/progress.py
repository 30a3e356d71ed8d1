"""One progress bar for long work: live in a terminal, in Jupyter and on Colab; one clean line once it is done."""

import io
import sys

from tqdm.std import tqdm

from galaxy_utils.wording import counted

# For work whose description says how far it is.
WITHOUT_COUNT = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"


class _NotebookBar(tqdm):
    """A bar that redraws one text output, so that a stored notebook keeps only its last line.

    tqdm's own notebook bar is a widget, which a rendered book shows as an error.
    """

    def __init__(self, *arguments, **options):
        from IPython.display import display

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)
        super().__init__(*arguments, file=io.StringIO(), ncols=88, **options)

    def display(self, msg=None, pos=None):
        if not getattr(self, "_closing", False):
            self._handle.update({"text/plain": msg or str(self)}, raw=True)

    def close(self):
        if not self.disable:
            self._handle.update({"text/plain": _summary(self)}, raw=True)
            self._closing = True
        super().close()


def _summary(bar):
    seconds = bar.format_dict["elapsed"]
    count = "" if bar.bar_format == WITHOUT_COUNT else f": {counted(bar.n, bar.unit)}"
    done = f"{bar.desc.removesuffix(': ')}{count} in {seconds:.1f} s"
    return f"{done}, {bar.postfix}" if bar.postfix else done


def _in_notebook():
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def progress_bar(total, description, unit="galaxies", show_count=True):
    """Return a progress bar: a context manager with `update`, `set_description_str` and `set_postfix_str`.

    Args:
        total: How many units the whole work has.
        description: What is being done, as a short phrase.
        unit: What is being counted, in the plural.
        show_count: Whether to show how many units are done, or their share alone.
    """
    bar_format = None if show_count else WITHOUT_COUNT
    options = {"total": total, "desc": description, "unit": unit, "mininterval": 0.3, "bar_format": bar_format}
    if _in_notebook():
        return _NotebookBar(**options)
    # Logs and pipes get no bar: a file full of carriage returns helps nobody.
    return tqdm(**options, disable=None, dynamic_ncols=True)
