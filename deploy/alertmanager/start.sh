#!/bin/sh
# Starts Alertmanager with a configuration made from the ALERT_ variables, or with the file ALERT_CONFIG_FILE.
set -eu
config=/tmp/alertmanager.yml

quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }  # as a YAML string
secret() { cat "/run/secrets/$1"; }
fail() { echo "Alertmanager is not started: $1" >&2; exit 1; }

receivers() {
  found=
  if [ -s /run/secrets/webhook_url ]; then
    found=1
    printf '    webhook_configs:\n      - {url: %s, send_resolved: true}\n' "$(quoted "$(secret webhook_url)")"
  fi
  if [ -s /run/secrets/slack_url ]; then
    found=1
    printf '    slack_configs:\n      - api_url: %s\n        send_resolved: true\n' "$(quoted "$(secret slack_url)")"
    cat << 'END'
        title: '{{ .Status | toUpper }}: {{ .CommonAnnotations.summary }}'
        text: '{{ range .Alerts }}{{ .Annotations.description }}{{ "\n" }}{{ end }}'
END
  fi
  if [ -n "$ALERT_MAIL_TO" ]; then
    found=1
    printf '    email_configs:\n      - to: %s\n        from: %s\n        smarthost: %s\n        require_tls: %s\n' \
      "$(quoted "$ALERT_MAIL_TO")" "$(quoted "$ALERT_MAIL_FROM")" "$(quoted "$ALERT_MAIL_HOST")" "$ALERT_MAIL_TLS"
    printf '        send_resolved: true\n'
    if [ -n "$ALERT_MAIL_USER" ]; then
      printf '        auth_username: %s\n' "$(quoted "$ALERT_MAIL_USER")"
      printf '        auth_password: %s\n' "$(quoted "$(secret mail_password)")"
    fi
  fi
  if [ -z "$found" ]; then
    echo "no receiver for alerts: set ALERT_WEBHOOK_URL, ALERT_SLACK_URL or ALERT_MAIL_TO in .env" >&2
  fi
}

if [ -s /given/alertmanager.yml ]; then
  config=/given/alertmanager.yml
else
  if [ -n "$ALERT_MAIL_TO" ]; then
    [ -n "$ALERT_MAIL_FROM" ] || fail "ALERT_MAIL_TO needs ALERT_MAIL_FROM, the address of the sender"
    case $ALERT_MAIL_HOST in *?:[0-9]*) ;; *) fail "ALERT_MAIL_TO needs ALERT_MAIL_HOST, such as smtp.example:587" ;; esac
    case $ALERT_MAIL_TLS in true|false) ;; *) fail "ALERT_MAIL_TLS must be true or false" ;; esac
  fi
  umask 077
  {
    cat /etc/alertmanager/routes.yml
    printf 'receivers:\n  - name: operator\n'
    receivers
  } > "$config"
fi
exec alertmanager --config.file="$config" --storage.path=/alertmanager --cluster.listen-address=
