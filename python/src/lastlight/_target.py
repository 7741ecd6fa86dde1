"""Where a worker is found: in a module, or in the script that was run.

It knows how to import, and nothing of what a worker does.
"""

from __future__ import annotations

import importlib
import runpy
import sys
import types
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lastlight._errors import LastlightError

if TYPE_CHECKING:
    from lastlight._worker import Worker


class NotFound(LastlightError):
    """There is no such worker. The message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A variable in a module, or in a script."""

    #: Whether this is a process for handlers.
    in_child: ClassVar[bool] = False

    module: str | None
    script: str | None
    """The script's path; used where there is no module."""
    variable: str

    def as_json(self) -> dict[str, Any]:
        """Return it as `Target(**…)` takes it."""
        return asdict(self)

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `module:variable`; without a variable, the module must have one worker."""
        module, _, variable = text.partition(":")
        if not module or not all(part.isidentifier() for part in module.split(".")):
            raise NotFound(f"{text!r} is not of the form my.module:worker")
        return cls(module, None, variable)

    @classmethod
    def of(cls, worker: Worker) -> Target:
        """Find the variable that holds a worker, in the module that made it before others.

        Raises:
            NotFound: No variable at the top of a module holds it.
        """
        first = sys.modules.get(worker._module)
        for module in [first, *sys.modules.values()]:
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if value is worker:
                    return cls._in(module, name)
        raise NotFound(
            f"processes of handlers must find the worker: keep it in a variable at the top of the "
            f"module {worker._module!r}, or register its handlers with isolation='thread'"
        )

    @classmethod
    def _in(cls, module: Any, variable: str) -> Target:
        if module.__name__ != "__main__":
            return cls(module.__name__, None, variable)
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.name:
            return cls(spec.name, None, variable)
        script = getattr(module, "__file__", None)
        if script is None:
            raise NotFound(
                "processes of handlers need a module or a script, not an interactive one"
            )
        return cls(None, str(Path(script).resolve()), variable)

    def load(self) -> Worker:
        """Import the module, and return the worker.

        Raises:
            NotFound: The variable is missing, or no worker.
            Exception: What the import raised.
        """
        from lastlight._worker import Worker

        if self.module is not None:
            module: Any = importlib.import_module(self.module)
        else:
            module = self._run_script()
        if not self.variable:
            found = {id(one): one for one in vars(module).values() if isinstance(one, Worker)}
            if len(found) != 1:
                raise NotFound(
                    f"the module {self.module} has {len(found)} workers: write "
                    f"{self.module}:NAME, with the name of a variable"
                )
            return next(iter(found.values()))
        value: Any = module
        for name in self.variable.split("."):
            value = getattr(value, name, None)
        if not isinstance(value, Worker):
            what = "missing" if value is None else f"a {type(value).__name__}"
            raise NotFound(
                f"{self.variable!r} in {self.module or self.script} is {what}, and must be a "
                "lastlight.Worker"
            )
        return value

    def _run_script(self) -> Any:
        # As the module multiprocessing does it: what the script has below `if __name__ ==
        # "__main__"` does not run again.
        module = types.ModuleType("__lastlight_main__")
        sys.modules["__lastlight_main__"] = module
        vars(module).update(runpy.run_path(str(self.script), run_name="__lastlight_main__"))
        return module
