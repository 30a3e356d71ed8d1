"""Where version 0.1 kept `identity_of`, which masters of assignments import: see `galaxy_utils/renamed.py`."""

from galaxy_utils import renamed

__getattr__ = renamed.forwarding(__name__)
