"""Machine learning without an orchestrator: data in, data out. Never imports Dagster."""
