#!/usr/bin/env bash
# What pip cannot bring: `ensure.sh python` prints a usable interpreter, `ensure.sh java` and `ensure.sh servers` install
# Debian packages where this user is root, and otherwise say in a sentence what to install.
set -euo pipefail

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install() {
  echo "Installing $* with apt-get" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

find_python() {
  local name
  for name in "${PYTHON:-}" python3.11 python3.12 python3 python; do
    if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
      if ! "$name" -c 'import ensurepip' 2>/dev/null; then
        can_install && install python3-venv || true
        "$name" -c 'import ensurepip' 2>/dev/null || { echo "$name lacks venv: install python3-venv." >&2; exit 1; }
      fi
      echo "$name"
      return
    fi
  done
  echo "Python 3.11 or 3.12 is needed: install it, or name it (make setup PYTHON=/path/to/python3.11)." >&2
  exit 1
}

java_version() { # major version of `java`, or 0
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || true
  echo "${version:-0}"
}

ensure_java() {
  [ "$(java_version)" -ge 17 ] && return
  if can_install; then
    apt-get update -qq
    local package
    for package in openjdk-17-jre-headless openjdk-21-jre-headless; do
      if apt-cache show "$package" >/dev/null 2>&1; then install "$package" && break; fi
    done
  fi
  if [ "$(java_version)" -lt 17 ]; then
    echo "Java 17 or newer is needed for Spark: install it (Debian/Ubuntu: apt-get install openjdk-17-jre-headless)" \
      "and put java on PATH." >&2
    exit 1
  fi
}

ensure_servers() { # each test that needs one of these skips with a reason where it is missing
  local missing=()
  command -v mvn >/dev/null || missing+=(maven)
  [ -n "$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null)" ] || command -v postgres >/dev/null || missing+=(postgresql)
  command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
  command -v c++ >/dev/null || missing+=(g++)
  [ -n "$(ls /usr/share/tesseract-ocr/*/tessdata/deu.traineddata 2>/dev/null)" ] \
    || missing+=(tesseract-ocr tesseract-ocr-deu tesseract-ocr-fra tesseract-ocr-spa)
  [ ${#missing[@]} = 0 ] && return
  if can_install; then
    install "${missing[@]}" || echo "Some of ${missing[*]} could not be installed; their tests will skip." >&2
  else
    echo "Not installed: ${missing[*]}. The tests that need them will skip and say so." >&2
  fi
}

case "${1:-}" in
  python) find_python ;;
  java) ensure_java ;;
  servers) ensure_servers ;;
  *) echo "usage: $0 python | java | servers" >&2; exit 2 ;;
esac
