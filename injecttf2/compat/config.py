"""The configuration file of the original InjectTF2, read as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from injecttf2.config.fields import HIGHEST_BIT, Probability, Schema, Text, whole_number
from injecttf2.config.yaml_file import YamlSource, read_yaml
from injecttf2.faults.bit_faults import BitFlip


class InjectLayer(Schema):
    """The section that the original InjectTF2 reads."""

    layer_name: Text = Field(description="Name of the layer whose output is hit; required.")
    fault_type: Literal["BitFlip"] = Field(description="BitFlip; required.")
    bit_flip_type: Literal["RandomBit", "SpecificBit"] = Field(description="Either; required.")
    bit_number: Annotated[int | None, Field(validate_default=True)] = Field(
        None, description=f"Bit from 0 to {HIGHEST_BIT}; required for SpecificBit."
    )
    probability: Probability = Field(description="Chance that a sample is hit, 0 to 1; required.")

    @field_validator("bit_number", mode="before")
    @classmethod
    def _needed_for_specific_bit(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("bit_flip_type") != "SpecificBit":
            return None if value is None else whole_number(value)
        if isinstance(value, bool) or value not in range(HIGHEST_BIT + 1):
            raise ValueError(f"a bit from 0 to {HIGHEST_BIT}, which SpecificBit needs")
        return value

    @property
    def fault(self) -> BitFlip:
        """The fault that the section describes."""
        if self.bit_flip_type == "RandomBit":
            return BitFlip(bit_field="any")
        return BitFlip(bit=self.bit_number)


class OriginalFile(Schema):
    """The configuration file of the original InjectTF2."""

    inject_layer: InjectLayer = Field(description="The one fault to inject; required.")


def is_original(source: YamlSource) -> bool:
    """Return whether a file is a configuration of the original InjectTF2."""
    return "inject_layer" in source.data


def parse_config(source: YamlSource) -> InjectLayer:
    """Check a configuration of the original InjectTF2.

    Raises:
        CampaignError: It is wrong; the message names file, line and column of all that is.
    """
    try:
        return OriginalFile.parse(source.data).inject_layer
    except ValidationError as error:
        raise source.error(error, OriginalFile) from None


def read_config(path: Path) -> InjectLayer:
    """Read a configuration file of the original InjectTF2.

    Raises:
        CampaignError: The file cannot be read or is wrong.
    """
    return parse_config(read_yaml(path))
