# What tools/run, tools/check and tools/genlog share: a Python, and .venv with the project in it.
# Expects $root, the checkout. Every failure says one sentence and exits.

venv=$root/.venv
accepted="3.11, 3.12 and 3.14" # wheels of the database driver exist for these

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() { say "$*"; exit 1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# accepted_python COMMAND [MODULE…]: whether it runs (a pyenv shim may not), is of an accepted
# version and has these modules.
accepted_python() {
  "$1" - "${@:2}" 2>/dev/null <<'PY'
import importlib.util, sys
fits = sys.implementation.name == "cpython" and sys.version_info[:2] in {(3, 11), (3, 12), (3, 14)}
sys.exit(not (fits and all(map(importlib.util.find_spec, sys.argv[1:]))))
PY
}

# choose_python: sets $python; one that can make virtual environments is better than one that cannot,
# and Debian's own, which is built with optimisation by profile, is a tenth faster than most others.
choose_python() {
  local candidates=("${PYTHON:-/usr/bin/python3.11}" python3.11 python3.12 python3.14 python3)
  for python in "${candidates[@]}"; do
    if accepted_python "$python" ensurepip; then return; fi
  done
  for python in "${candidates[@]}"; do
    if accepted_python "$python"; then return; fi
  done
  local found
  found=$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null) || found=none
  fail "Python $accepted are supported, found is $found" \
    "(no wheels of the database driver exist for 3.13); install one of them or set PYTHON to it."
}

# install_packages PACKAGE…: Debian packages, as root, without starting or enabling a daemon where
# they bring one: with SYSTEMD_OFFLINE systemctl starts nothing. 1 where it cannot be done.
install_packages() {
  local apt=(env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1
    apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120)
  is_root && command -v apt-get >/dev/null || return 1
  say "installing the Debian packages $*"
  "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1 && return
  "${apt[@]}" update >/dev/null && "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}

# make_venv: .venv with a pip that knows dependency groups (PEP 735: pip 25.1).
make_venv() {
  if accepted_python "$venv/bin/python" pip; then return; fi
  choose_python
  if ! accepted_python "$python" ensurepip; then
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    install_packages "python$version-venv" ||
      fail "$python cannot make virtual environments; install the package python$version-venv as root."
  fi
  say "making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv" || fail "the virtual environment $venv could not be made."
  pip install --upgrade "pip>=25.1"
}

pip() {
  "$venv/bin/python" -m pip -qq --disable-pip-version-check "$@" ||
    fail "pip could not do '$*' (its own words stand above); is the package index within reach?"
}

# install_project [GROUP]: the project, editable, and a dependency group; again only when
# pyproject.toml has changed. With a group it is installed as it is without.
install_project() {
  local stamp=$venv/installed${1:+-$1} now
  now=$(sha256sum <"$root/pyproject.toml")
  if cat "$stamp" "$stamp"-* 2>/dev/null | grep -qxF -- "$now"; then return; fi
  say "installing what pyproject.toml names${1:+, and its group $1}"
  (cd "$root" && pip install --editable . ${1:+--group "$1"})
  # As pip does with what it copies; where PYTHONDONTWRITEBYTECODE is set nobody else does it.
  "$venv/bin/python" -m compileall -q "$root/src/pda"
  printf '%s\n' "$now" >"$stamp"
}
