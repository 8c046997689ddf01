"""fast-axolotl: Axolotl's data pipeline in Rust, with the same results, and never slower."""

__version__ = "0.3.0"
