"""The models: every file beside this one that holds a ModelSpec. Adding a model is adding its file."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from ml.spec import ModelSpec


def _specs() -> tuple[ModelSpec, ...]:
    """Return the spec of each file in this folder, by file name. A file's spec bears the file's name.

    Raises ValueError that names the file if it holds none of that name.
    """
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    return tuple(_spec_of(import_module(f"{__name__}.{name}"), name) for name in files)


def _spec_of(module: ModuleType, name: str) -> ModelSpec:
    found = [value for value in vars(module).values() if isinstance(value, ModelSpec) and value.name == name]
    if len(found) != 1:
        raise ValueError(f"ml/models/{name}.py must hold one ModelSpec with name={name!r}; it holds {len(found)}")
    return found[0]


MODELS: tuple[ModelSpec, ...] = _specs()
MODEL_NAMES = tuple(spec.name for spec in MODELS)


def model_named(name: str) -> ModelSpec:
    """Return the spec called `name`. Raises LookupError with the known names."""
    for spec in MODELS:
        if spec.name == name:
            return spec
    raise LookupError(f"no model {name!r}; ml/models holds {[spec.name for spec in MODELS]}")
