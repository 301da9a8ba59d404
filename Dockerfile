# The worker: `docker build --tag voice-ai .`, then
# `docker run --init --env-file .env --volume voice-ai:/app/data voice-ai`
#
# The image needs a provider's key for hearing, thinking and speaking. `--build-arg EXTRAS=offline`
# adds the offline voice, and with it eSpeak NG: who passes such an image on passes on GPL-3 code.

FROM python:3.11-slim AS build
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /venv
COPY requirements.lock requirements-dev.lock ./
RUN /venv/bin/pip install --require-hashes -r requirements.lock
# The lock of the developers holds the versions and hashes of the extra as well.
RUN case "$EXTRAS" in \
      "") ;; \
      offline) awk '/^[a-z]/ { wanted = /^(espeakng-loader|pocketsphinx)==/ } wanted' \
               requirements-dev.lock > /tmp/offline.lock \
               && /venv/bin/pip install --require-hashes --no-deps -r /tmp/offline.lock ;; \
      *) echo "EXTRAS: only \"offline\" is known" >&2; exit 1 ;; \
    esac
COPY agent.py LICENSE ./
COPY agent agent
COPY plugins plugins
COPY config config
COPY ops ops
RUN /venv/bin/python -m compileall -q agent plugins config ops

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app voice-ai \
    && install --directory --owner=10001 --group=10001 /app/data
COPY --from=build /venv /venv
# /app is nobody's to write but for the data: database, spool, phrase cache.
COPY --from=build /app /app
# PYTHONPATH reaches the forkserver, which does not inherit the search path of this process.
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001
VOLUME /app/data
STOPSIGNAL SIGTERM
# SIGTERM drains: give `docker stop --time` as long as a call may last (worker.drain_timeout).
# 401: a token is set, so the endpoints answer; who has none is not told more.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import http.client, os; \
port = os.environ.get('VOICE_AGENT__WORKER__ENDPOINTS_PORT', '8082'); \
worker = http.client.HTTPConnection('127.0.0.1', int(port), timeout=4); \
worker.request('GET', '/live'); \
raise SystemExit(worker.getresponse().status not in (200, 401))"]
ENTRYPOINT ["python", "agent.py"]
CMD ["start"]
