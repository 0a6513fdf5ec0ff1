"""The deployment stage: a candidate that passed its gates goes to Triton, and MLflow's aliases follow."""

from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from assets.approved_steps import waiting
from assets.links import asking, run_link
from assets.resources import Platform
from assets.rollout import BY_DEPLOYMENT, Step, admit, bring, next_action
from ml.spec import ModelSpec

if TYPE_CHECKING:
    from serving.latency import Latency


def deployment_asset(spec: ModelSpec) -> dg.AssetsDefinition:
    """Return the deployment of a spec's newest candidate."""

    @dg.asset(
        key=[spec.name, "deployment"],
        deps=[dg.AssetDep([spec.name, "model"])],
        kinds={"triton", "onnx"},
        owners=[spec.owner],
        code_version=str(spec.serving.model_dump()),
        description=(
            f"{spec.name} in Triton: the newest candidate, if promotion and serving_drift passed on exactly "
            "that version. Verified by real inferences, within its SLO, before it counts; the one before stays as "
            "previous."
        ),
        pool="triton",
    )
    def deployment(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        from serving.fleet import server_for

        candidate, run = platform.registry.newest(spec.name), f"run {context.run.run_id[:8]}"
        admitted = admit(platform, spec, f"{spec.name}/deployment", candidate.version)
        server = server_for(platform.settings).start()
        first = first_step(platform, spec, candidate.version)
        if wait := waiting(platform, spec, candidate.version, first, run):
            context.log.info(wait)
            return dg.MaterializeResult(metadata={"model version": candidate.version, "serves as": wait})
        measured: list[Latency] = []
        share = 1.0 if first == "shadow" else spec.serving.canary_share
        step = Step(first, candidate.version, share, BY_DEPLOYMENT, run)
        plan = bring(platform, spec, step, admitted, measured.append)
        platform.registry.tag(candidate, {"deployed_run": context.run.run_id})
        context.log.info(
            f"{spec.name}: version {candidate.version} serves as {_serves(step)}, plan revision {plan.revision}; "
            f"approved by {admitted.approved_by}"
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{spec.name}@{candidate.version}"),
            metadata={
                "model version": candidate.version,
                "serves as": _serves(step),
                "plan revision": plan.revision,
                "triton": f"grpc://{server.url}",
                "mlflow run": run_link(platform, candidate),
                "triton model": asking(spec.name, candidate.version, (field.name for field in plan.request)),
                "approved by": admitted.approved_by,
                "trained on": f"{spec.name}/training_set version {candidate.training_set_version}",
                **_latency(spec, measured),
            },
        )

    return deployment


def _serves(step: Step) -> str:
    return "champion" if step.action == "promote" else f"{step.action}, {step.share:.0%} of the keys"


def _latency(spec: ModelSpec, measured: "list[Latency]") -> dict[str, Any]:
    """Return how fast a version answered; nothing for one that served already, which was measured before."""
    return {
        name: value
        for latency in measured[-1:]
        for name, value in {
            "p99 ms": round(latency.p99_ms, 2),
            "median ms": round(latency.median_ms, 2),
            "latency": f"best of {latency.rounds} rounds of {latency.answers} single rows; at most "
            f"{spec.serving.slo.p99_ms:g} ms",
        }.items()
    }


def first_step(platform: Platform, spec: ModelSpec, version: str) -> Literal["shadow", "canary", "promote"]:
    """Return what a new version is at first: champion, where there is none or its spec gives it no other way."""
    from serving.model_repository import ModelRepository

    served = ModelRepository(platform.settings.serving_home).deployed(spec.name)
    alone = served is None or served.champion.version == version
    return "promote" if alone else next_action(spec, "")
