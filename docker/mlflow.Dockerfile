# The MLflow server: the same mlflow as the runner's, and PostgreSQL's driver. Build it from the repository's root:
#   docker build -f docker/mlflow.Dockerfile -t ablate-mlflow .
FROM python:3.11-slim-bookworm

ENV MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

COPY constraints.txt /opt/mlflow/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c /opt/mlflow/constraints.txt mlflow psycopg2-binary==2.9.13

RUN useradd --uid 1000 --create-home --no-log-init mlflow \
    && install --directory --owner=mlflow --group=mlflow /artifacts

USER 1000:1000
WORKDIR /home/mlflow
VOLUME ["/artifacts"]
EXPOSE 5000
ENTRYPOINT ["mlflow"]
CMD ["server", "--help"]
