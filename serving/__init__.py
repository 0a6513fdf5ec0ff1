"""Serving without an orchestrator: plans, the model repository, the router inside Triton, rollout, client.

`ml` may be imported, Dagster and `assets` never. Two environments meet here and share only files and
gRPC. Inside Triton (the serving environment: standard library, numpy 1, onnxruntime) run `triton_model`,
`router`, `feeds`, `online_features`, `prediction_log` and `plan`; everything else runs in the platform's.
"""
