"""What the package does from a command line: python -m galaxy_utils classify SOURCE --classifier FILE --output FILE."""

import argparse
import sys

import galaxy_utils
from galaxy_utils.errors import GalaxyUtilsError


def main(arguments=None):
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m galaxy_utils", description=galaxy_utils.__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("classify", help="classify galaxies without labels into a catalogue")
    command.add_argument("source", help="a folder of images, an image, HDF5, Parquet, or a table of positions")
    told = "a file that gu.save_classifier wrote; the classifier of the package, if not told"
    command.add_argument("--classifier", default="pretrained", help=told)
    command.add_argument("--output", required=True, help="catalogue.parquet, a folder, or catalogue.csv")
    command.add_argument("--pixel-scale", type=float, help="arcseconds per pixel, for images that do not say so")
    command.add_argument("--column", action="append", default=[], metavar="ra=NAME", help="ra, dec, id or image")
    command.add_argument("--workers", type=int, help="processes; all cores, if not told")
    command.add_argument("--scheduler", help="address of a Dask scheduler, such as tcp://127.0.0.1:8786")
    command.add_argument("--address", help="of a service of cut-outs")
    command.add_argument("--layer", help="survey at that service")
    options = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    columns = dict(entry.partition("=")[::2] for entry in options.pop("column"))
    try:
        if scheduler := options.pop("scheduler", None):
            from distributed import Client

            options["client"] = Client(scheduler)
        galaxy_utils.classify(**options, columns=columns)
    except (GalaxyUtilsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
