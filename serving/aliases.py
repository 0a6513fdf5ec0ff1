"""MLflow's aliases follow what serves: champion, previous, and challenger for a canary or a challenger.

Platform side. A version that was trained and has not served yet bears `challenger`, too, until another one serves as
one (assets/training.py). Changing who serves is in `rollout`.
"""

from ml import remedies
from ml.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from serving.model_repository import ModelRepository
from serving.plan import ANSWERING, Plan


def follow(registry: Registry, repository: ModelRepository, model: str, begun: str = "") -> None:
    """Let the aliases say who serves the model now; of several that could be challenger, it is the version `begun`.

    Does nothing where the registry does not know the champion. Raises LookupError if the model is not deployed.
    """
    plan = repository.deployed(model)
    if plan is None:
        raise LookupError(f"model {model!r} was never deployed; {remedies.deploy(model)}")
    known = {version.version for version in registry.versions(model)}
    if plan.champion.version not in known:
        return
    previous = repository.previous(model)
    wanted = {
        CHAMPION: plan.champion.version,
        PREVIOUS: previous.champion.version if previous else None,
        CHALLENGER: _challenger(registry.aliases(model).get(CHALLENGER, ""), plan, repository, begun),
    }
    registry.set_aliases(model, {alias: version for alias, version in wanted.items() if version in {None, *known}})


def _challenger(held: str, plan: Plan, repository: ModelRepository, begun: str) -> str | None:
    """Return who is challenger; who bears it keeps it while it serves beside the champion, or has not served yet."""
    answering = [arm.version.version for arm in plan.arms if arm.variant in ANSWERING]
    if answering:
        return next((version for version in (begun, held) if version in answering), answering[0])
    on_trial = [arm.version.version for arm in plan.arms if arm.variant == "shadow"]
    if not held or held in on_trial or held not in _served(repository, plan.model):
        return held or None
    return None


def _served(repository: ModelRepository, model: str) -> set[str]:
    """Return the versions that ever served."""
    arms = (arm for plan in repository.history(model) for arm in plan.lineup)
    return {arm.version.version for arm in arms if arm.variant != "candidate"}
