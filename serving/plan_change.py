"""Puts a plan into effect, or leaves things as they were: written, pointed to, taken over by every process, proven.

Which plan that is, is decided in `rollout`.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ml import remedies
from ml.clock import open_clock
from ml.settings import Settings
from serving.control import Control
from serving.model_repository import ModelRepository
from serving.own_model import backend_of, kept_backend, write_own
from serving.plan import Arm, Change, Plan, View
from serving.replicas import Replicas
from serving.router_states import await_revision
from serving.triton_config import configuration_of
from serving.triton_files import triton_home


class DeploymentError(RuntimeError):
    """A plan was refused; the message says why and who serves now."""


class PlanChange:
    """Changes to one model's plan, under the model's lock."""

    def __init__(self, name: str, settings: Settings, by: str, why: str) -> None:
        self.repository = ModelRepository(settings.serving_home)
        self.name = name
        self.old = self.repository.deployed(name)
        self._settings, self._by, self._why = settings, by, why
        self._control = Replicas(settings)

    def require(self) -> None:
        """Put aside what was never proven. Raises ConnectionError unless Triton answers."""
        self._control.require_live()
        fitted = self.old is None or self.fits(self.old)
        old = self.repository.discard_unproven(self.name)
        if old is not None and not fitted:  # what was killed half way had Triton load another configuration
            self._control.load(self.name)
            await_revision(self.repository.home, self.name, old.revision, configuration_of(old))

    def champion(self) -> Plan:
        """Return the plan that serves. Raises LookupError if there is none."""
        if self.old is None:
            raise LookupError(f"model {self.name!r} was never deployed; {remedies.deploy(self.name)}")
        return self.old

    def fits(self, plan: Plan) -> bool:
        """Whether the routers that run can take the plan over without a load."""
        return self.repository.configured(plan)

    def make(self, action: str, plan: Plan, prove: Callable[[], None] = lambda: None) -> Plan:
        """Serve `plan` as a new revision and return it; `prove` raises if it must not stay.

        Raises DeploymentError if it did not, and whatever else came in between; then the plan before it serves.
        """
        at = open_clock(self._settings.clock_file).now().isoformat()
        change = Change(action, self._by, self._why, at)
        revision = self.repository.next_revision(self.name)
        plan = dataclasses.replace(plan, revision=revision, views=_read(plan), change=change)
        try:
            self._put(plan)
            prove()
            self.repository.point(plan, proven=True)
        except BaseException as error:
            outcome = self._take_back(f"{type(error).__name__}: {error}")
            if isinstance(error, (RuntimeError, TimeoutError)):
                raise DeploymentError(
                    f"revision {plan.revision} of {self.name!r} is refused: {error}; {outcome}"
                ) from error
            raise
        self.old = plan
        with suppress(OSError, LookupError, RuntimeError):  # the plan serves; the next change tries again
            unload_own(self._control, self.repository, self.name)
        return plan

    def close(self) -> None:
        """Close the channel to Triton."""
        self._control.close()

    def _put(self, plan: Plan) -> None:
        fits = self.fits(plan)
        load_own(self._control, self.repository, plan, self._settings)
        self.repository.write_plan(plan)
        if not fits:
            self.repository.configure(plan)
        self.repository.point(plan, proven=False)
        if not fits:
            self._control.load(self.name)
        await_revision(self.repository.home, self.name, plan.revision, configuration_of(plan))
        probe = self._control.probe(self.name)
        if probe != (plan.revision, plan.champion.version):
            raise RuntimeError(
                f"revision {probe.revision}, version {probe.model_version} answers in place of "
                f"revision {plan.revision}, version {plan.champion.version}"
            )

    def _take_back(self, reason: str) -> str:
        """Make routers serve the plan before again; return a sentence on who serves."""
        fitted = self.old is not None and self.fits(self.old)
        old = self.repository.discard_unproven(self.name, reason)
        try:
            unload_own(self._control, self.repository, self.name)
            if old is None:
                self._control.unload(self.name)
                return "nothing serves"
            if not fitted:
                self._control.load(self.name)
            if self._control.recover(self.name).revision != old.revision:
                await_revision(self.repository.home, self.name, old.revision, configuration_of(old))
            probe = self._control.probe(self.name)
            return f"revision {probe.revision}, version {probe.model_version}, keeps serving"
        except (OSError, LookupError, RuntimeError) as error:
            return f"and the old revision does not answer ({error}); {remedies.recover_triton()}"


def load_own(
    control: Control | Replicas, repository: ModelRepository, plan: Plan, settings: Settings, anew: bool = False
) -> None:
    """Load those versions of a plan that are Triton models of their own, if need be or `anew`."""
    replicas = bool(settings.triton_replicas)
    backend = kept_backend(repository.home) if replicas else backend_of(triton_home(settings) / "backends")
    for version in (arm.version for arm in plan.lineup if arm.version.own):
        write_own(repository.models, version, plan.output, backend)
        if anew:
            control.unload(version.own)
        if anew or not control.ready(version.own):
            control.load(version.own)


def unload_own(control: Control | Replicas, repository: ModelRepository, model: str) -> None:
    """Unload and remove versions that were Triton models of their own and that the plan does not name any more."""
    plan = repository.deployed(model)
    named = {arm.version.own for arm in plan.lineup} if plan else set()
    for folder in repository.models.glob(f"{model}__*"):
        if folder.name not in named:
            control.unload(folder.name)
            shutil.rmtree(folder)


def _read(plan: Plan) -> tuple[View, ...]:
    """Return the views that some version reads."""
    read = {view for arm in plan.lineup for view in plan.views_of(arm.version)}
    return tuple(view for view in plan.views if view in read)


@contextmanager
def changing(name: str, settings: Settings, by: str = "", why: str = "") -> Iterator[PlanChange]:
    """Hold the model's lock for changes to its plan. Raises ConnectionError unless Triton answers."""
    with ModelRepository(settings.serving_home).lock(name):
        change = PlanChange(name, settings, by, why)
        try:
            change.require()
            yield change
        finally:
            change.close()


def _ask_alike(one: Plan, other: Plan) -> bool:
    """Whether two plans take the same request; what a field means counts where both say it."""
    return len(one.request) == len(other.request) and all(
        (a.name, a.dtype) == (b.name, b.dtype) and (a.kind == b.kind or "" in (a.kind, b.kind))
        for a, b in zip(one.request, other.request, strict=True)
    )


def beside(plan: Plan, arm: Arm, of: Plan) -> Plan | None:
    """Return the plan with one more arm, whose version is from the plan `of`.

    None where one router cannot serve both: requests differ, or views of one name, or only one of them decides.
    """
    if not _ask_alike(plan, of):
        return None
    read = {wanted.view for wanted in arm.version.inputs}
    together = {view.name: view for view in plan.views}
    for view in (view for view in of.views if view.name in read):
        if together.setdefault(view.name, view) != view:
            return None
    if plan.decides != (arm.version.threshold is not None):
        return None
    others = [a for a in plan.arms if a.version.version != arm.version.version]
    if arm.version.version == plan.champion.version:
        return plan
    return dataclasses.replace(plan, views=tuple(together.values()), arms=(*others, arm))
