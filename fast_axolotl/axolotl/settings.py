"""What the YAML of the running Axolotl command says about fast-axolotl."""

from typing import NamedTuple


class Settings(NamedTuple):
    """The keys of the plugin that the seams look at.

    Attributes:
        rust_streaming: `dataset_use_rust_streaming`; None where the file's size and
            `sequence_len` decide.
        sequence_len: `sequence_len`, if there is one.
        plugin: whether the plugin is in the YAML: nothing engages by itself without it.
        preferences: whether the run is one of `rl`, whose rows keep what is known of their file.
    """

    rust_streaming: bool | None = None
    sequence_len: int | None = None
    plugin: bool = False
    preferences: bool = False


#: Unset, local files are read by Rust from this size on, or for longer sequences than this.
STREAMING_BYTES = 1 << 30
STREAMING_SEQUENCE_LEN = 10_000

current = Settings()


def use(settings: Settings) -> Settings:
    """Replace the settings of the process; return those that held."""
    global current
    before, current = current, settings
    return before


def may_stream() -> bool:
    """Return whether there is a size of which `streams` is true."""
    return current.plugin if current.rust_streaming is None else current.rust_streaming


def streams(size: int) -> bool:
    """Return whether a local file of `size` bytes is read by Rust.

    0.2.0's rule: as `dataset_use_rust_streaming` says; unset, files over 1 GiB and runs with a
    `sequence_len` over 10,000.
    """
    long = (current.sequence_len or 0) > STREAMING_SEQUENCE_LEN
    return may_stream() and (bool(current.rust_streaming) or long or size > STREAMING_BYTES)
