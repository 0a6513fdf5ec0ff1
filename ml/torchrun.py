"""`python -m ml.torchrun ...`: torchrun, ending with the exit status of the process that failed first.

torchrun itself ends with 1 whatever happened, so that nobody outside could tell a mistake, which another try repeats,
from a process that was lost, after which training goes on from its checkpoint.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from ml.process import share_cores

_CONF = "--rdzv-conf="


def main() -> int:
    """Run torchrun; return the status that a shell would give for the process that failed first, 0 if none did."""
    share_cores()
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(arguments(sys.argv[1:], os.environ))
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        return 128 - status if status < 0 else status
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def arguments(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return torchrun's arguments, which say in a pod of an Indexed Job that the first one is where all meet.

    torchrun would find out by asking for its own name, which the cluster may not know yet when the pod starts.
    """
    index = environment.get("JOB_COMPLETION_INDEX")
    meets = "" if index is None else f",is_host={'true' if index == '0' else 'false'}"
    return [word + meets if word.startswith(_CONF) else word for word in words]


if __name__ == "__main__":
    sys.exit(main())
