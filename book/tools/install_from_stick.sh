#!/bin/sh
# Install the book from the folder in which this file lies, without a network, into ~/galaxies or another folder.
#
#     sh install.sh [FOLDER]
set -eu
stick=$(cd "$(dirname "$0")" && pwd)
target=${1:-$HOME/galaxies}
if [ -e "$target" ]; then
  echo "$target exists already: delete it, or name another folder." >&2
  exit 1
fi
cp -R "$stick/galaxies" "$target"
# As an address: pip takes a path with a space for two.
links=$("${PYTHON:-python3}" -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).as_uri())' "$stick/wheels")
PIP_NO_INDEX=1 PIP_FIND_LINKS="$links" make -C "$target" --no-print-directory install
cache=$("$target/.venv/bin/python" -c 'from galaxy_utils.files import cache_folder; print(cache_folder())')
mkdir -p "$cache"
cp -R "$stick/cache/." "$cache"
# So that JupyterLab or another editor on this machine offers the book's Python.
"$target/.venv/bin/python" -m ipykernel install --user --name galaxies --display-name "Galaxies" >/dev/null
echo "Open $target/notebooks and choose the kernel 'Galaxies'."
