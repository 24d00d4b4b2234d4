#!/usr/bin/env bash
# Writes what has to be kept of a deployment into a folder: the log, the files, the secrets, the key that seals the log.
# PostgreSQL and the snapshots follow from the log. The services stand still meanwhile; the archives hold secrets.
#
#   ./backup.sh FOLDER [COMPOSE OPTIONS, such as -f compose.yaml -f compose.cluster.yaml]
set -euo pipefail

folder=$(realpath -m "${1:?say where to: ./backup.sh FOLDER}")
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
shift
source "$here/volumes.sh"

[[ ! -e $folder ]] || { echo "$folder exists; name a new folder, so that no older backup is lost" >&2; exit 1; }
mkdir -p -m 700 "$folder"
trap 'compose start >&2' EXIT
compose stop >&2
for volume in $(kept_volumes); do
  tar_of "$volume" ro "$folder" -cpf "/backup/$volume.tar" . && echo "$folder/$volume.tar"
done
(cd "$folder" && sha256sum ./*.tar >SHA256SUMS)
