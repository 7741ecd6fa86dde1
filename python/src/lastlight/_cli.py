"""The command `lastlight-worker`: reads arguments, and ends with a code that scripts can use."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib import metadata

from lastlight._errors import LastlightError
from lastlight._failure import whole_traceback
from lastlight._log_tail import RECORD_FORMAT, current_tail
from lastlight._target import NotFound, Target
from lastlight._worker import Worker, processors

_STOPPED, _CANNOT_WORK, _USAGE = 0, 1, 2

_EPILOG = """\
environment:
  LASTLIGHT_URL   the app's address, such as https://<app>.azurewebsites.net
                  (default: http://127.0.0.1:7071, that of `lastlight local`)
  LASTLIGHT_KEY   a function key of the app; it is no argument, since others see those

signals:
  SIGTERM, SIGINT once: no new tasks; those that run have the grace, then they are ended
                  and released, and run again elsewhere without a counted attempt
                  twice: running tasks are ended and released at once

exit codes:
  0   stopped by a signal
  1   cannot work: the app refuses the key, the address is not that of an app, or
      processes for handlers do not start
  2   an argument is wrong, or the worker cannot be imported

examples:
  lastlight-worker my.module:worker --concurrency 4
  LASTLIGHT_URL=http://127.0.0.1:7071 lastlight-worker tasks --log-level debug --echo
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lastlight-worker",
        description="Run the handlers of a lastlight.Worker: ask the app for tasks, run each in a "
        "process of its own, and tell how it ended.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "worker",
        metavar="MODULE[:VARIABLE]",
        help="where the worker is, such as my.module:worker; the current directory is searched, "
        "too; without a variable, the module must have one worker",
    )
    parser.add_argument(
        "--concurrency",
        type=_count,
        metavar="N",
        help=f"the most tasks at once (default: the number of processors, here {processors()})",
    )
    parser.add_argument("--queue", metavar="NAME", help="another queue than the worker's own")
    parser.add_argument("--url", help="the app's address; goes before LASTLIGHT_URL")
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=25.0,
        metavar="SECONDS",
        help="what running tasks have left when the worker is told to stop (default: 25)",
    )
    parser.add_argument(
        "--worker-id",
        metavar="ID",
        help="what names this worker in the app (default: made of the machine's name)",
    )
    parser.add_argument(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="what is logged to standard error, by the worker and by handlers (default: info)",
    )
    parser.add_argument(
        "--echo",
        action="store_true",
        help="print what handlers print, too; without it, that is only in the log of their tasks",
    )
    parser.add_argument("--version", action="version", version=f"lastlight {_version()}")
    return parser


def _version() -> str:
    try:
        return metadata.version("lastlight")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more: {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more: {text!r}")
    return seconds


def _load(text: str) -> Worker:
    """Import the worker.

    Raises:
        NotFound: It cannot be; the message is for people.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    target = Target.parse(text)
    try:
        worker = target.load()
        worker._target = target
    except NotFound:
        raise
    except ModuleNotFoundError as error:
        module = target.module or ""
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise NotFound(
                f"there is no module {error.name!r}, in {here} or as a package"
            ) from None
        raise NotFound(f"importing {module} failed:\n{whole_traceback(error)}") from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise NotFound(f"importing {target.module} failed:\n{whole_traceback(error)}") from None
    return worker


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = _parser().parse_args(arguments)
    printed = logging.StreamHandler(sys.stderr)
    printed.addFilter(lambda _: given.echo or current_tail.get() is None)
    logging.basicConfig(level=given.log_level.upper(), format=RECORD_FORMAT, handlers=[printed])
    # One line per request, every second or more often.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    try:
        worker = _load(given.worker)
        worker.run(
            concurrency=given.concurrency,
            queue=given.queue,
            url=given.url,
            grace=given.grace,
            worker_id=given.worker_id,
            echo=given.echo,
        )
    except (NotFound, ValueError) as error:
        print(f"lastlight-worker: {error}", file=sys.stderr)
        return _USAGE
    except LastlightError as error:
        print(f"lastlight-worker: {error}", file=sys.stderr)
        return _CANNOT_WORK
    except KeyboardInterrupt:
        return _STOPPED
    return _STOPPED


if __name__ == "__main__":
    sys.exit(main())
