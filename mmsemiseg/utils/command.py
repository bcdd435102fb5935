"""How a tool ends that tells a wrong argument in one line."""

import sys
from collections.abc import Callable


def exit_with(main: Callable[[], int], *errors: type[Exception]) -> None:
    """End the process with the status ``main()``; a wrong argument is told in one line.

    Args:
        main: Function that returns the exit status.
        errors: Types of errors that are told so, besides a ``ValueError``, a missing
            file and a missing package.
    """
    try:
        sys.exit(main())
    except (FileNotFoundError, ImportError, ValueError, *errors) as error:
        sys.exit(f'error: {error}')
