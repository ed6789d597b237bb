"""Features of users and of items: tables encoded into sparse matrices.

table (DataFrame, file, dict)   tables.py, read.py
  → columns: numbers, levels, lists   columns.py
  → what is learned of each           encoders.py, encoding.py
  → blocks side by side               blocks.py
  → Features: ids and X               features.py
"""

from halfstep.features.blocks import Group, hstack, implicit_features
from halfstep.features.encoding import Encoding
from halfstep.features.features import Features, as_features
from halfstep.features.read import read_features

__all__ = [
    "Encoding",
    "Features",
    "Group",
    "as_features",
    "hstack",
    "implicit_features",
    "read_features",
]
