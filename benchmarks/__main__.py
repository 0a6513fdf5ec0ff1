"""`make bench`: lists the benchmarks, or runs the one that is named."""

import ast
import importlib
import sys
from pathlib import Path


def benchmarks() -> dict[str, str]:
    """Return each benchmark's name and the first line of its docstring."""
    files = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_") and p.stem != "report")
    return {p.stem: (ast.get_docstring(ast.parse(p.read_text())) or "").splitlines()[0] for p in files}


def main() -> int:
    """Run the benchmark named on the command line; returns 2 for an unknown name, 1 if it cannot run."""
    known = benchmarks()
    if len(sys.argv) < 2:
        print("\n".join(f"make bench NAME={name:<16} {text}" for name, text in known.items()))
        return 0
    name = sys.argv[1]
    if name not in known:
        print(f"headwater: no benchmark {name!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    try:
        importlib.import_module(f"benchmarks.{name}").main()
    except (LookupError, ConnectionError) as error:
        print(f"headwater: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
