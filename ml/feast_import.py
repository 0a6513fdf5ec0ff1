"""Feast, imported without the slow parts that it does not need here."""

import importlib
import sys
from types import ModuleType
from typing import Any

_TORCH = "feast.torch_wrapper"


def import_feast() -> None:
    """Import Feast without what it does not need.

    Typeguard would rewrite its functions one by one. Torch it only needs to turn answers into tensors: it is imported
    then.
    """
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = lambda target=None, **_: target or (lambda it: it)  # type: ignore[assignment]
    sys.modules.setdefault(_TORCH, _late_torch())
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = checked


def _late_torch() -> ModuleType:
    """Return a stand-in of Feast's module around torch, which imports torch when it is asked for."""
    wrapper: Any = ModuleType(_TORCH, "Torch, once it is asked for.")
    wrapper.get_torch = lambda: importlib.import_module("torch")
    return wrapper  # type: ignore[no-any-return]
