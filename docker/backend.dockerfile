# The server in a container. From the root of the repository:
#
#   docker build -f docker/backend.dockerfile -t pims .
#   docker run -p 127.0.0.1:5000:5000 -e AUTH_NETWORKS=172.16.0.0/12 -v pims-data:/data pims
#
# AUTH=network: say who may ask with AUTH_NETWORKS, AUTH_SECRET or both; without, it does not start. Requests
# through a published port often seem to come from Docker's own network (172.16.0.0/12), whoever sent them:
# allow that network only when the port is published on 127.0.0.1, as above, or a proxy before it checks who
# asks; otherwise give it an AUTH_SECRET.

FROM python:3.11-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /opt/pims
COPY requirements.txt ./
RUN /opt/pims/bin/python -m pip install --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY pims ./pims
COPY plugins ./plugins
RUN /opt/pims/bin/python -m pip install --no-deps --no-build-isolation . ./plugins/*/

FROM python:3.11-slim

RUN groupadd --system --gid 10001 pims \
 && useradd --system --uid 10001 --gid pims --home-dir /app --no-create-home pims \
 && install -d -o pims -g pims /data
WORKDIR /app
COPY --from=build /opt/pims /opt/pims
COPY pims-config.env logging.yml logging-debug.yml docker/healthcheck.py ./

ENV PATH=/opt/pims/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROOT=/data/pims \
    PORT=5000 \
    AUTH=network \
    LOG_CONFIG_FILE=/app/logging.yml

USER pims
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "/app/healthcheck.py"]
CMD ["pims", "serve", "--host", "0.0.0.0"]
