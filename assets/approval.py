"""Who let a version be deployed: the gates, or a person who overrode them; on record with the version in MLflow."""

from typing import TYPE_CHECKING

from assets.resources import Platform
from checks.guard import GateClosed
from checks.promotion import CHECK
from checks.required import required_checks
from ml.lake import WHOLE

if TYPE_CHECKING:
    from ml.model_version import ModelVersion


def approval(platform: Platform, version: "ModelVersion", onnx_sha256: str) -> str:
    """Return who approves of a version that the guard has let pass: `gates, run <id>`, or the overrides it needs.

    Raises GateClosed if the verdict that passed is about a file with another hash: a number that another
    registry, begun anew, gave again.
    """
    table, number = f"{version.name}/model", int(version.version)
    verdicts = [platform.verdicts.newest(table, number, WHOLE, check) for check in required_checks(table)]
    failed = {verdict.check for verdict in verdicts if verdict is not None and not verdict.passed}
    used = [override for override in platform.overrides.active(table) if override.version == number]
    used = [override for override in used if override.check in failed]
    if used:
        return "; ".join(str(override) for override in used)
    (judged,) = [verdict for verdict in verdicts if verdict is not None and verdict.check == CHECK]
    if judged.evidence.get("onnx_sha256") != onnx_sha256:
        raise GateClosed(
            f"{version.name}/deployment refuses version {number}: its check {CHECK!r} passed on another file than the "
            f"registered one; run the check on {table} again"
        )
    return f"gates, run {judged.run_id or 'unknown'}"
