# For backup.sh and restore.sh: which deployment this is, and how to read and write its volumes.
# TM_ENV_FILE names another file than .env.
env_file=${TM_ENV_FILE:-$here/.env}
options=("$@")
setting() { sed -n "s/^$1=//p" "$env_file" | tail -n 1; }
project=$(setting COMPOSE_PROJECT_NAME)

compose() {
  local program=(docker compose)
  "${program[@]}" version >/dev/null 2>&1 || program=(docker-compose)
  (cd "$here" && "${program[@]}" --env-file "$env_file" "${options[@]}" "$@")
}

kept_volumes() {
  local volume
  for volume in secrets nats nats-2 nats-3 minio tracker; do
    docker volume inspect "${project}_$volume" >/dev/null 2>&1 && echo "$volume"
  done
}

tar_of() { # VOLUME ro|rw FOLDER TAR'S WORDS
  docker run --rm --user 0:0 --network none -v "${project}_$1:/volume:$2" -v "$3:/backup" -w /volume \
    "trainmaster/init:$(setting TM_VERSION)" tar "${@:4}"
}
