#!/usr/bin/env bash
# Fills the volumes of a deployment that has none yet from a folder that backup.sh wrote. Then: docker compose up -d.
#
#   ./restore.sh FOLDER [COMPOSE OPTIONS]
set -euo pipefail

folder=$(realpath "${1:?say where from: ./restore.sh FOLDER}")
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
shift
source "$here/volumes.sh"

(cd "$folder" && sha256sum --check --quiet SHA256SUMS)
for file in "$folder"/*.tar; do
  volume=$(basename "$file" .tar)
  if docker volume inspect "${project}_$volume" >/dev/null 2>&1; then
    echo "the volume ${project}_$volume exists already; docker compose down --volumes deletes all of the deployment" >&2
    exit 1
  fi
done
for file in "$folder"/*.tar; do
  volume=$(basename "$file" .tar)
  docker volume create --label "com.docker.compose.project=$project" --label "com.docker.compose.volume=$volume" \
    "${project}_$volume" >/dev/null
  tar_of "$volume" rw "$folder" -xpf "/backup/$volume.tar" && echo "${project}_$volume"
done
