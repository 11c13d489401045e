# Debian, never Alpine: Temporal's core bridge is built against glibc.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build

FROM node:24-bookworm-slim
ARG TARGETARCH
# As in embedded/entry-point.ts. Names are looked up in a pool of threads: with four, four names whose servers are silent would hold up all others.
# Of what glibc sets aside for each thread that allocates, little ever comes back.
ENV NODE_ENV=production UV_THREADPOOL_SIZE=64 MALLOC_ARENA_MAX=2
WORKDIR /app
COPY package.json package-lock.json ./
# The optional packages are what `npm start` brings along: Node itself, PostgreSQL, the bundler's compiler. The bundle is made above.
RUN npm ci --omit=dev --omit=optional --ignore-scripts && npm cache clean --force \
  && case "${TARGETARCH:-$(dpkg --print-architecture)}" in arm64) keep=aarch64-unknown-linux-gnu ;; *) keep=x86_64-unknown-linux-gnu ;; esac \
  && find node_modules/@temporalio/core-bridge/releases -mindepth 1 -maxdepth 1 ! -name "$keep" -exec rm -r {} +
COPY . .
COPY --from=build /app/build ./build
# A volume that is mounted here takes over who owns it.
RUN install -d -o node -g node -m 700 /var/lib/everpost/blobs
USER node
# What Node makes of the sources, made once. Without settings the programs end at once, but by then they have loaded all that they need.
ENV NODE_COMPILE_CACHE=/home/node/compile-cache
RUN for program in api/server.ts workers/worker.ts; do \
    node --max-semi-space-size=16 --heap-growing-percent=35 --no-parallel-scavenge "$program" > /dev/null 2>&1 || true; \
  done
EXPOSE 3000
# Node itself is process 1 and gets the signals; each program drains on SIGTERM.
# As in embedded/entry-point.ts: the heap follows what lives.
CMD ["node", "--max-semi-space-size=16", "--heap-growing-percent=35", "--no-parallel-scavenge", "api/server.ts"]
