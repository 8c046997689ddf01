"""The keys that the plugin adds to Axolotl's YAML, for Axolotl's own validation."""

from collections.abc import Callable
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)


def _flag(value: Any, parse: Callable[[Any], bool | None]) -> bool | None:
    try:
        return parse(value)
    except ValidationError:
        raise ValueError(f"allowed are true, false and null, not {value!r}") from None


def _meant(value: Any) -> Any:
    # A flag may be a text ("false"), which is true for Python.
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        return value


class FastAxolotlSettings(BaseModel):
    """The section `fast_axolotl` of the YAML."""

    model_config = ConfigDict(extra="forbid")

    dispatch: str | None = Field(
        default=None,
        json_schema_extra={
            "description": "Which side answers: auto, rust, python or verify, also an operation at "
            "a time (`python,hash=auto`). FAST_AXOLOTL_DISPATCH in the environment wins."
        },
    )
    calibrate: bool | None = Field(
        default=None,
        json_schema_extra={
            "description": "Measure once on this host which side is faster, before the data is "
            "loaded, unless that is known."
        },
    )

    @model_validator(mode="before")
    @classmethod
    def known_keys(cls, data: Any) -> Any:
        """Name the keys there are where there is another."""
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    allowed = ", ".join(cls.model_fields)
                    raise ValueError(f"unknown key {key!r}; allowed are {allowed}")
        return data

    @field_validator("dispatch")
    @classmethod
    def known_mode(cls, value: str | None) -> str | None:
        """Check a mode as the environment variable's is."""
        from fast_axolotl import RUST_AVAILABLE
        from fast_axolotl.dispatch import modes

        if value is not None:
            modes.parse(value, RUST_AVAILABLE, "fast_axolotl.dispatch")
        return value

    @field_validator("calibrate", mode="wrap")
    @classmethod
    def known_flag(cls, value: Any, parse: Callable[[Any], bool | None]) -> bool | None:
        """Say what a flag may be."""
        return _flag(value, parse)


class FastAxolotlArgs(BaseModel):
    """The keys at the top of the YAML."""

    dataset_use_rust_streaming: bool | None = Field(
        default=None,
        json_schema_extra={
            "description": "Read local files by Rust. Unset: those over 1 GiB, and all where "
            "sequence_len is over 10,000."
        },
    )
    dedupe: bool | None = Field(
        default=None,
        json_schema_extra={"description": "The same as dataset_exact_deduplication."},
    )
    fast_axolotl: FastAxolotlSettings | None = Field(
        default=None, json_schema_extra={"description": "Settings of fast-axolotl."}
    )

    @model_validator(mode="before")
    @classmethod
    def one_deduplication(cls, data: Any) -> Any:
        """Make `dedupe` the same as `dataset_exact_deduplication`; refuse near misses of our keys.

        Axolotl drops keys that it does not know without a word.
        """
        if not isinstance(data, dict):
            return data
        own = tuple(FastAxolotlArgs.model_fields)
        for key in data:
            near = isinstance(key, str) and key.startswith(("fast_axolotl", "dataset_use_rust"))
            if near and key not in own:
                raise ValueError(f"unknown key {key!r}; allowed are {', '.join(own)}")
        wanted, other = data.get("dedupe"), data.get("dataset_exact_deduplication")
        if wanted is not None:
            if other is not None and _meant(other) != _meant(wanted):
                raise ValueError(
                    "dedupe and dataset_exact_deduplication are one setting, and have the values "
                    f"{wanted!r} and {other!r}: leave one of them out"
                )
            data = {**data, "dataset_exact_deduplication": wanted}
        return data

    @field_validator("dataset_use_rust_streaming", "dedupe", mode="wrap")
    @classmethod
    def known_flag(cls, value: Any, parse: Callable[[Any], bool | None]) -> bool | None:
        """Say what a flag may be."""
        return _flag(value, parse)
