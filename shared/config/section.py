"""What the sections of the experiment file have in common: unknown keys are errors, types strict, null means absent."""

from pydantic import BaseModel, ConfigDict, model_validator

MODEL_CONFIG = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Section(BaseModel):
    """A mapping in the experiment file. A known key with the value null counts as not given."""

    model_config = MODEL_CONFIG

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key not in cls.model_fields}
