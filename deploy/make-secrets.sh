#!/bin/sh
# Writes the secrets of the deployment into one folder per container below $1, each with the secrets it needs.
# A secret is taken from the environment if set there, otherwise from an earlier start; missing ones are generated.
set -eu
LC_ALL=C  # passwords may contain any bytes
base=$1

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# Prints the value of NAME: GIVEN if it is not empty, otherwise the value generated at the first start. Generated values
# are in a folder that no other container mounts.
secret() {  # NAME GIVEN [PREFIX]
  if [ -n "$2" ]; then printf %s "$2"; return; fi
  stored="$base/generated/$1"
  if [ ! -s "$stored" ]; then
    mkdir -p "$base/generated"
    (umask 077; printf '%s%s' "${3:-}" "$(random)" > "$stored.new")
    mv "$stored.new" "$stored"
  fi
  cat "$stored"
}

hex() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }

# Quotes a text as the password of an address, or as one word of Valkey's configuration.
in_url() { case $1 in *[!A-Za-z0-9._~-]*) hex "$1" | sed 's/../%&/g' ;; *) printf %s "$1" ;; esac; }
quoted() { printf '"%s"' "$(hex "$1" | sed 's/../\\x&/g')"; }

# A line break would start a new line of a configuration, and a comma another login of Flower.
check() {  # NAME VALUE [REFUSED]
  case $2 in *[[:cntrl:]]*) echo "$1: must not contain line breaks or other control characters" >&2; exit 1 ;; esac
  case $2 in *[${3:-[:cntrl:]}]*) echo "$1: must not contain any of $3" >&2; exit 1 ;; esac
}

hand() {  # SERVICE NAME VALUE
  printf %s "$3" > "$base/$1/.$2.new"
  # Containers run as different users, and each folder is mounted in one container only.
  chmod 444 "$base/$1/.$2.new"
  mv "$base/$1/.$2.new" "$base/$1/$2"
}

check VALKEY_PASSWORD "${VALKEY_PASSWORD:-}"
check GRAFANA_PASSWORD "${GRAFANA_PASSWORD:-}" ,
for name in STT_API_KEY STT_SERVER_API_KEYS STT_HTTP_KEYS STT_REDIS_URL STT_WEBHOOK_SECRET AWS_SECRET_ACCESS_KEY \
  ALERT_WEBHOOK_URL ALERT_SLACK_URL ALERT_MAIL_PASSWORD; do
  eval "check $name \"\${$name:-}\""
done

valkey=$(secret valkey_password "${VALKEY_PASSWORD:-}")
queue=${STT_REDIS_URL:-redis://:$(in_url "$valkey")@$QUEUE/0}
given=${STT_API_KEY:-}
if [ -z "$given" ] && [ -s "${API_KEY_FILE:-}" ]; then given=$(cat "$API_KEY_FILE"); fi
check "the file of STT_API_KEY_FILE" "$given"
# The worker needs a key that the server accepts.
if [ -z "$given" ] && [ -n "${STT_SERVER_API_KEYS:-}" ]; then given=$(printf %s "${STT_SERVER_API_KEYS%%,*}" | tr -d ' '); fi
key=$(secret api_key "$given")
storage=$(secret s3_secret "${AWS_SECRET_ACCESS_KEY:-}")
webhook=${STT_WEBHOOK_SECRET:-}
if [ -z "$webhook" ]; then webhook=whsec_$(secret webhook_secret "" | head -c 32 | base64); fi
password=$(secret grafana_password "${GRAFANA_PASSWORD:-}")

hand valkey password "$valkey"
hand valkey quoted_password "$(quoted "$valkey")"
hand server api_keys "${STT_SERVER_API_KEYS:-$key}"
for service in worker inbox intake api; do hand "$service" redis_url "$queue"; done
hand worker api_key "$key"
hand worker webhook_secret "$webhook"
http=${STT_HTTP_KEYS:-}
if [ -z "$http" ]; then http=operator:operate:$(secret http_key ""); fi
hand api http_keys "$http"
for service in worker intake api s3; do hand "$service" s3_secret "$storage"; done
hand grafana password "$password"
hand flower broker_url "$queue"
hand flower login "admin:$password"
hand alertmanager webhook_url "${ALERT_WEBHOOK_URL:-}"
hand alertmanager slack_url "${ALERT_SLACK_URL:-}"
hand alertmanager mail_password "${ALERT_MAIL_PASSWORD:-}"
