"""The implementations of Axolotl's functions, one module each (see `patch_map`)."""
