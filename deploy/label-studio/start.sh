#!/usr/bin/env bash
# Start Label Studio on loopback with all its data in one folder: `start.sh FOLDER PORT`. Secrets are made once
# and kept there. The first start takes two minutes (it builds its database). Never ask it for `--version`: that
# hung for minutes.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
port=$2

secret() { # file of hexadecimal digits, made once
  if [ ! -s "$folder/$1" ]; then
    (umask 077; head -c "$2" /dev/urandom | od -An -tx1 | tr -d ' \n' > "$folder/$1")
  fi
  cat "$folder/$1"
}

export LABEL_STUDIO_BASE_DATA_DIR=$folder
export LABEL_STUDIO_USERNAME=${LABEL_STUDIO_USERNAME:-admin@localhost.example}
LABEL_STUDIO_PASSWORD=$(secret password 12)
LABEL_STUDIO_USER_TOKEN=$(secret token 20) # the server wants 40 digits
SECRET_KEY=$(secret secret_key 32) # a new one at each start would sign everybody out
export LABEL_STUDIO_PASSWORD LABEL_STUDIO_USER_TOKEN SECRET_KEY
export LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true # else the token above opens nothing
# Nothing leaves the machine: no analytics, crash reports or look for a newer version.
export COLLECT_ANALYTICS=false SENTRY_DSN='' FRONTEND_SENTRY_DSN='' LATEST_VERSION_CHECK=false
unset PYTHONPATH # our packages are not its

cat <<TEXT
Label Studio: http://127.0.0.1:$port (two minutes at the first start)
  sign in     $LABEL_STUDIO_USERNAME, password in $folder/password; annotators sign up at /user/signup
  sap-llm     export LABEL_STUDIO_URL=http://127.0.0.1:$port LABEL_STUDIO_API_KEY=\$(cat $folder/token)
TEXT
cd "$folder"
exec "$checkout/.venv-label-studio/bin/label-studio" start --no-browser --port "$port" --internal-host 127.0.0.1
