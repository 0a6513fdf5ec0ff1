"""The deployment stage: a candidate that passed its gates goes to Triton, and MLflow's aliases follow."""

import dagster as dg

from assets.resources import Platform
from assets.views import admit_use
from ml.spec import ModelSpec


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
            "that version. Verified by a real inference before it counts; the one before stays as previous."
        ),
        pool="triton",
    )
    def deployment(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        from serving.rollout import deploy
        from serving.server import Server

        registry, settings = platform.registry, platform.settings
        candidate = registry.newest(spec.name)
        platform.guard.require(f"{spec.name}/deployment", f"{spec.name}/model", int(candidate.version))
        admit_use(platform, f"{spec.name}/deployment", spec.views)
        server = Server(settings).start()
        plan = deploy(spec, candidate.version, registry.onnx_path(candidate), platform.feature_views, settings)
        registry.promote(spec.name, candidate.version)
        context.log.info(f"{spec.name}: version {candidate.version} serves as plan revision {plan.revision}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{spec.name}@{candidate.version}"),
            metadata={
                "model version": candidate.version,
                "plan revision": plan.revision,
                "triton": f"grpc://{server.url}",
                "mlflow run": candidate.run_id,
                "trained on": f"{spec.name}/training_set version {candidate.training_set_version}",
            },
        )

    return deployment
