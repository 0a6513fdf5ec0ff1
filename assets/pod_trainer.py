"""Training in pods: started, followed while messages come back through the log, started again, removed.

Here: what happens in time. Not here: manifests (assets/training_pod.py), calls (assets/cluster.py) and the words for
what went wrong (assets/pod_failures.py).
"""

import random
import string
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster_k8s.pipes import PipesK8sPodLogsMessageReader
from kubernetes.client import ApiException

from assets.cluster import Cluster, body_of
from assets.pod_failures import End, how_it_ended, why_refused, why_stuck
from assets.trainer import NOTHING
from assets.training_pod import GRACE_SECONDS, INDEX_LABEL, Manifest, TrainingPod
from ml.settings import Settings
from ml.spec import ModelSpec

_LAST_WORDS_SECONDS = 60.0


@dataclass(frozen=True)
class PodTrainer:
    """Trains in pods of the settings' namespace.

    Attributes:
        python: Python in the image.
        env: Variables of the pods besides those from Secrets and ConfigMaps.
        poll_seconds: Time between two looks at a pod.
        pull_minutes: How long an image may fail to be pulled, or a container to be made, before that is final.
        lost_seconds: How long a pod may take that is to go; then its node is lost, and nobody is there to end it.
    """

    settings: Settings
    python: str = "python"
    env: Mapping[str, str] = field(default_factory=dict)
    poll_seconds: float = 2.0
    pull_minutes: float = 2.0
    lost_seconds: float = GRACE_SECONDS + 300.0

    def train(
        self,
        context: dg.AssetExecutionContext,
        spec: ModelSpec,
        arguments: Sequence[str],
        env: Mapping[str, str] = NOTHING,
    ) -> dg.MaterializeResult:
        """Train in as many pods as the spec wants. Raises dg.Failure, which says what to change, if it fails."""
        work = _Work(self, context, spec, arguments, {**self.env, **env}, Cluster.here(self.settings.namespace))
        context.log.info(f"{spec.name} is trained on {spec.training.resources}")
        return work.in_job() if spec.training.resources.pods > 1 else work.in_pod()


@dataclass
class _Work:
    """One call of `train`."""

    trainer: PodTrainer
    context: dg.AssetExecutionContext
    spec: ModelSpec
    arguments: Sequence[str]
    env: Mapping[str, str]
    cluster: Cluster
    reader: PipesK8sPodLogsMessageReader = field(default_factory=PipesK8sPodLogsMessageReader)

    def in_pod(self) -> dg.MaterializeResult:
        """One pod, and after it another as long as that helps."""
        restarts = self.spec.training.resources.restarts
        attempt = 0
        while True:
            with self._session() as session:
                training = self._training(session)
                with self._created([training.pod()]):
                    end = self._followed(training.name)
            if end is None:
                return _result(session, {"pod": training.name, "pods before it": attempt})
            if not end.again:
                raise dg.Failure(end.why, allow_retries=False)
            if attempt == restarts:
                raise self._gave_up(end.why)
            attempt += 1
            self.context.log.warning(f"{end.why}; starting again from the checkpoint, {attempt} of {restarts}")

    def in_job(self) -> dg.MaterializeResult:
        """An Indexed Job: Kubernetes starts its pods again, and we follow the pod that leads, whichever it is."""
        with self._session() as session:
            training = self._training(session)
            with self._created([training.service(), training.job()]):
                leaders = self._followed_job(training.name)
        return _result(session, {"job": training.name, "pods before the leading one": leaders - 1})

    @contextmanager
    def _session(self) -> Iterator[Any]:
        injector = dg.PipesEnvContextInjector()
        with dg.open_pipes_session(self.context, injector, self.reader) as session:
            yield session

    def _training(self, session: Any) -> TrainingPod:
        return TrainingPod(
            self.spec,
            self.trainer.settings,
            _new_name(self.spec),
            self.arguments,
            {**self.env, **session.get_bootstrap_env_vars()},
            self.context.run_id,
            self.cluster.own_pod(),
            self.trainer.python,
        )

    @contextmanager
    def _created(self, manifests: Sequence[Manifest]) -> Iterator[None]:
        """Create what the manifests say and delete it in the end, whatever ends this, a cancelled run too."""
        try:
            try:
                for manifest in manifests:
                    self.cluster.create(manifest)
            except ApiException as error:
                raise dg.Failure(why_refused(self.spec, body_of(error)), allow_retries=False) from error
            yield
        finally:
            for manifest in manifests:
                self.cluster.delete(manifest)

    def _followed(self, name: str) -> End | None:
        """Hand on what the pod says until it ends; return how, None for success."""
        log, clock = None, _Clock()
        while (pod := self.cluster.pod(name)) is not None and pod.status.phase not in ("Succeeded", "Failed"):
            if log is None and _started(pod):
                log = self._listen(name)
            if log is None:
                self._refuse_if_stuck(pod, clock)
            if clock.going_for(pod) > self.trainer.lost_seconds:
                return End(True, f"pod {name} does not go: its node is lost")
            time.sleep(self.trainer.poll_seconds)
        if pod is not None and log is None and _started(pod):
            log = self._listen(name)
        if log is not None:
            log.join(_LAST_WORDS_SECONDS)
        if pod is not None and pod.status.phase == "Succeeded":
            return None
        return how_it_ended(self.spec, pod, "" if pod is None else self.cluster.tail(name))

    def _followed_job(self, name: str) -> int:
        """Hand on what the leading pods say until the Job is complete; return how many there were."""
        asked, selector, clock = self.spec.training.resources, f"headwater.io/training={name}", _Clock()
        seen: dict[str, _Seen] = {}
        while (ended := _condition(self.cluster.job(name))) is None:
            pods = self.cluster.pods(selector)
            for pod in pods:
                self._look_at(pod, seen.setdefault(pod.metadata.name, _Seen()))
            leaders = sum(one.log is not None for one in seen.values())
            if leaders > asked.restarts + 1:
                raise self._gave_up(f"the leading pod of Job {name} was started {leaders} times")
            if not leaders and len(pods) < asked.pods and clock.minutes > self.trainer.pull_minutes:
                for refused in self.cluster.refusals(name)[:1]:
                    raise dg.Failure(why_refused(self.spec, refused), allow_retries=False)
            time.sleep(self.trainer.poll_seconds)
        logs = [one.log for one in seen.values() if one.log is not None]
        for log in logs:
            log.join(_LAST_WORDS_SECONDS)
        if ended != "Complete":
            raise self._job_failed(name, self.cluster.pods(selector))
        return max(len(logs), 1)

    def _look_at(self, pod: Any, seen: "_Seen") -> None:
        """Listen to a leading pod once it runs; refuse one that is stuck, or that failed by a mistake."""
        if not _started(pod):
            self._refuse_if_stuck(pod, seen.clock)
        elif (pod.metadata.labels or {}).get(INDEX_LABEL) == "0" and seen.log is None:
            seen.log = self._listen(pod.metadata.name)
        if pod.status.phase == "Failed" and not seen.judged:
            seen.judged = True
            self._refuse_a_mistake(pod)

    def _refuse_a_mistake(self, pod: Any) -> None:
        """A Job ends at a mistake by itself where its policy knows the status; here all is known."""
        end = how_it_ended(self.spec, pod, self.cluster.tail(pod.metadata.name))
        if not end.again:
            raise dg.Failure(end.why, allow_retries=False)

    def _job_failed(self, name: str, pods: Sequence[Any]) -> dg.Failure:
        failed = [pod for pod in pods if pod.status.phase == "Failed"]
        ends = [how_it_ended(self.spec, pod, self.cluster.tail(pod.metadata.name)) for pod in failed]
        mistakes = [end.why for end in ends if not end.again]  # they are the cause; the other pods only lost that one
        if mistakes:
            return dg.Failure(mistakes[0], allow_retries=False)
        return self._gave_up(ends[0].why if ends else f"Job {name} failed")

    def _listen(self, name: str) -> threading.Thread:
        """Hand on the pod's log beside the watch over the pod: a node that is gone ends no log."""

        def consume() -> None:
            try:
                self.reader.consume_pod_logs(self.context, self.cluster.core, name, self.cluster.namespace)
            except Exception as error:  # whatever it is, the pod's own state tells how training ends
                self.context.log.warning(f"the log of pod {name} can no longer be read: {error}")

        thread = threading.Thread(target=consume, name=f"log of {name}", daemon=True)
        thread.start()
        return thread

    def _refuse_if_stuck(self, pod: Any, clock: "_Clock") -> None:
        minutes, pull = clock.minutes, self.trainer.pull_minutes
        if why_stuck(self.spec, pod, minutes, pull, {}) is not None:
            why = why_stuck(self.spec, pod, minutes, pull, self.cluster.largest())
            raise dg.Failure(why, allow_retries=False)

    def _gave_up(self, why: str) -> dg.Failure:
        model, restarts = self.spec.name, self.spec.training.resources.restarts
        return dg.Failure(
            f"{why}; training of {model} was started again {restarts} times, which is all that it may: give it a "
            f"training.resources.priority_class that is not preempted, or raise training.resources.restarts; "
            "materialize again to go on from the checkpoint",
            allow_retries=False,
        )


@dataclass
class _Clock:
    """Time since we began to look, and since a pod was to go."""

    began: float = field(default_factory=time.monotonic)
    going: float | None = None

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self.began) / 60

    def going_for(self, pod: Any) -> float:
        """Return the seconds since we first saw that a pod is to go; 0 for one that may stay."""
        if pod.metadata.deletion_timestamp is None:
            return 0.0
        self.going = self.going or time.monotonic()
        return time.monotonic() - self.going


@dataclass
class _Seen:
    """A pod of a Job: since when we know it, who hands on its log, whether its failure was looked at."""

    clock: _Clock = field(default_factory=_Clock)
    log: threading.Thread | None = None
    judged: bool = False


def _started(pod: Any) -> bool:
    states = [status.state for status in pod.status.container_statuses or () if status.state]
    return any(state.running is not None or state.terminated is not None for state in states)


def _condition(job: Any) -> str | None:
    """Return Complete or Failed once a Job is; a Job that somebody deleted has failed."""
    if job is None:
        return "Failed"
    held = [c.type for c in job.status.conditions or () if c.status == "True"]
    return next((kind for kind in ("Complete", "Failed") if kind in held), None)


def _new_name(spec: ModelSpec) -> str:
    """Return a name that no other pod has; a Job's pods get an index behind it."""
    suffix = "".join(random.choices(string.ascii_lowercase + string.digits, k=8))
    return f"train-{spec.name.replace('_', '-')[:40].rstrip('-')}-{suffix}"


def _result(session: Any, where: Mapping[str, Any]) -> dg.MaterializeResult:
    result = dg.PipesClientCompletedInvocation(session).get_materialize_result()
    return result._replace(metadata={**(result.metadata or {}), **where})
