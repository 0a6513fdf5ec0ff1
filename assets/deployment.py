"""The deployment stage: a candidate that passed its gates goes to Triton, and MLflow's aliases follow."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.approval import approval
from assets.promotion import APPROVED_BY, window_rows
from assets.resources import Platform
from assets.views import admit_use
from ml.spec import ModelSpec

if TYPE_CHECKING:
    from serving.latency import Latency

ASKED = 200  # different rows that the answer time is measured with


def deployment_asset(spec: ModelSpec) -> dg.AssetsDefinition:
    """Return the deployment of a spec's newest candidate."""

    @dg.asset(
        key=[spec.name, "deployment"],
        deps=[dg.AssetDep([spec.name, "model"])],
        group_name="deployment",
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
        from ml.onnx_file import require_unchanged
        from serving.build_defaults import build_defaults
        from serving.rollout import deploy
        from serving.server import Server

        registry, settings = platform.registry, platform.settings
        candidate = registry.newest(spec.name)
        platform.guard.require(f"{spec.name}/deployment", f"{spec.name}/model", int(candidate.version))
        onnx = registry.onnx_path(candidate)
        approved_by = approval(platform, candidate, require_unchanged(candidate, onnx))
        admit_use(platform, f"{spec.name}/deployment", spec.views)
        server = Server(settings).start()
        measured: list[Latency] = []
        rows = _requests(platform, spec, candidate.training_set_version)
        views = platform.feature_views
        learned = window_rows(platform, spec, candidate.training_set_version, spec.split.train)
        plan = deploy(
            spec,
            candidate.version,
            onnx,
            views,
            settings,
            rows,
            measured.append,
            candidate.threshold,
            by=approved_by,
            defaults=build_defaults(spec, learned),
        )
        registry.tag(candidate, {APPROVED_BY: approved_by, "deployed_run": context.run.run_id})
        registry.promote(spec.name, candidate.version)
        (latency,) = measured
        context.log.info(
            f"{spec.name}: version {candidate.version} serves as plan revision {plan.revision}, p99 "
            f"{latency.p99_ms:.1f} ms; approved by {approved_by}"
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{spec.name}@{candidate.version}"),
            metadata={
                "model version": candidate.version,
                "plan revision": plan.revision,
                "triton": f"grpc://{server.url}",
                "mlflow run": candidate.run_id,
                "approved by": approved_by,
                "p99 ms": latency.p99_ms,
                "median ms": latency.median_ms,
                "latency": f"best of {latency.rounds} rounds of {latency.answers} single rows; at most "
                f"{spec.serving.slo.p99_ms:g} ms",
                "trained on": f"{spec.name}/training_set version {candidate.training_set_version}",
            },
        )

    return deployment


def _requests(platform: Platform, spec: ModelSpec, version: int) -> list[dict[str, Any]]:
    """Return held-out rows of a training set to ask with: their entities are known, as those of callers are."""
    rows = window_rows(platform, spec, version, spec.split.test)
    return rows.sample(min(ASKED, rows.height), seed=spec.training.seed).to_dicts()
