#!/bin/sh
# Writes the secrets of the deployment, for each container only those it needs, into one folder for each below $1.
# A secret that the environment gives is taken from there; one that was generated before stays; any other is generated.
set -eu
base=$1

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# The value NAME has: given, else as it was generated at the first start. Generated ones are in a folder of their own,
# which no other container sees.
secret() {  # NAME GIVEN [PREFIX]
  if [ -n "$2" ]; then printf %s "$2"; return; fi
  kept="$base/generated/$1"
  if [ ! -s "$kept" ]; then
    mkdir -p "$base/generated"
    (umask 077; printf '%s%s' "${3:-}" "$(random)" > "$kept.new")
    mv "$kept.new" "$kept"
  fi
  cat "$kept"
}

hand() {  # SERVICE NAME VALUE
  printf %s "$3" > "$base/$1/.$2.new"
  # Each container has a user of its own, and its folder is mounted in no other.
  chmod 444 "$base/$1/.$2.new"
  mv "$base/$1/.$2.new" "$base/$1/$2"
}

valkey=$(secret valkey_password "${VALKEY_PASSWORD:-}")
queue=${STT_REDIS_URL:-redis://:$valkey@$QUEUE/0}
given=${STT_API_KEY:-}
if [ -z "$given" ] && [ -s "${API_KEY_FILE:-}" ]; then given=$(cat "$API_KEY_FILE"); fi
key=$(secret api_key "$given")
storage=$(secret s3_secret "${AWS_SECRET_ACCESS_KEY:-}")
webhook=${STT_WEBHOOK_SECRET:-}
if [ -z "$webhook" ]; then webhook=whsec_$(secret webhook_secret "" | head -c 32 | base64); fi
password=$(secret grafana_password "${GRAFANA_PASSWORD:-}")

hand valkey password "$valkey"
hand server api_keys "${STT_SERVER_API_KEYS:-$key}"
for service in worker inbox intake; do hand "$service" redis_url "$queue"; done
hand worker api_key "$key"
hand worker webhook_secret "$webhook"
for service in worker intake s3; do hand "$service" s3_secret "$storage"; done
hand grafana password "$password"
hand flower broker_url "$queue"
hand flower login "admin:$password"
