#!/bin/sh
# rclone's S3 server, called as MinIO is: server DIRECTORY, keys in files.
set -eu
RCLONE_AUTH_KEY="\"$(cat "$MINIO_ROOT_USER_FILE"),$(cat "$MINIO_ROOT_PASSWORD_FILE")\""
export RCLONE_AUTH_KEY RCLONE_CONFIG=/dev/null GOGC=50
exec rclone serve s3 --addr :9000 --log-level NOTICE "$2"
