#!/bin/sh
# Put the book, all packages and the rendered survey into a folder, for machines without a network.
#
#     book/tools/stick.sh FOLDER PYTHON
#
# The packages fit machines of the same system, processor and Python version as this one.
set -eu
stick=$1
python=$2
mkdir -p "$stick/wheels" "$stick/galaxies" "$stick/cache"
echo "Fetching packages"
"$python" book/tools/run_pip.py download --quiet --require-hashes -r requirements.lock -d "$stick/wheels"
echo "Copying the book and its survey"
git archive HEAD | tar -x -C "$stick/galaxies"
"$python" -c 'import galaxy_utils; [galaxy_utils.load("simulated", profile=name) for name in ("smoke", "demo")]'
cp -R "$("$python" -c 'from galaxy_utils.files import cache_folder; print(cache_folder())')/simulated" "$stick/cache"
cp book/tools/install_from_stick.sh "$stick/install.sh"
du -sh "$stick"
