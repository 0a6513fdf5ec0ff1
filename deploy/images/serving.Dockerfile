# Headwater's Triton: NVIDIA's image, one small environment, and the router. Build from the repository's root:
#   docker build -f deploy/images/serving.Dockerfile -t headwater-serving:0.1.0 .
# Holds: Triton 24.12 with Python 3.12 and its backends, the environment of requirements/serving-image.lock (numpy < 2,
# onnxruntime, Triton's client), ml and serving. Holds no model, no secret, no Dagster, no torch.
FROM nvcr.io/nvidia/tritonserver:24.12-py3 AS build
COPY --from=ghcr.io/astral-sh/uv:0.13.8 /uv /usr/local/bin/uv
WORKDIR /build
COPY requirements/serving-image.lock requirements/serving-image.lock
COPY deploy/images/install-serving.sh install-serving.sh
RUN ./install-serving.sh /usr/bin/python3.12 /opt/serving

FROM nvcr.io/nvidia/tritonserver:24.12-py3
COPY --from=build /opt/serving /opt/serving
WORKDIR /app
COPY ml ml
COPY serving serving
ENV PATH=/opt/serving/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    HEADWATER_TRITON_ROOT=/opt/tritonserver HEADWATER_SERVING_PYTHON=/opt/serving/bin/python
USER 10001:10001
ENTRYPOINT []
CMD ["python", "-m", "serving.replica"]
