#!/bin/sh
# Copies the data of Valkey to BACKUP_FOLDER every BACKUP_INTERVAL_S seconds, and removes all copies but the newest
# BACKUP_COUNT. A copy gets its final name when it is complete and checked.
#   backup.sh          runs until SIGTERM
#   backup.sh once     makes one copy
#   backup.sh check    fails if the newest copy is older than two intervals
set -eu
umask 077  # the copies contain transcripts
folder=$BACKUP_FOLDER
max_copy_s=1800
retry_s=60

positive() {  # NAME VALUE
  case $2 in ''|0*|*[!0-9]*) echo "$1: must be a whole number of at least 1, not '$2'" >&2; exit 1 ;; esac
}
positive BACKUP_INTERVAL_S "$BACKUP_INTERVAL_S"
positive BACKUP_COUNT "$BACKUP_COUNT"

# Prints the age of the newest copy in seconds, or nothing without a copy. Names contain the time, so they sort by age.
age() {
  newest=
  for file in "$folder"/valkey-*.rdb; do [ ! -f "$file" ] || newest=$file; done
  [ -z "$newest" ] || echo $(($(date +%s) - $(date -r "$newest" +%s)))
}

copy() {
  part=$folder/.part.rdb
  rm -f "$part"
  # In the background, because a shell handles SIGTERM only after a command in the foreground.
  REDISCLI_AUTH=$(cat /run/secrets/password) timeout "$max_copy_s" \
    valkey-cli -h "${QUEUE%:*}" -p "${QUEUE##*:}" --rdb "$part" > /tmp/copy.log 2>&1 &
  if ! wait $!; then fail "Valkey cannot be copied: $(tail -n 1 /tmp/copy.log)"; return 1; fi
  if ! valkey-check-rdb "$part" > /tmp/copy.log 2>&1; then fail "the copy is damaged: $(tail -n 1 /tmp/copy.log)"; return 1; fi
  name=valkey-$(date -u +%Y%m%dT%H%M%SZ).rdb
  mv "$part" "$folder/$name"
  echo "copied $(($(wc -c < "$folder/$name"))) bytes to $name"
  set -- "$folder"/valkey-*.rdb
  while [ $# -gt "$BACKUP_COUNT" ]; do rm -f "$1"; shift; done
}

fail() {
  echo "backup failed: $1" >&2
  rm -f "$part"
}

case ${1:-run} in
  once) copy; exit ;;
  check) found=$(age); [ -n "$found" ] && [ "$found" -lt $((2 * BACKUP_INTERVAL_S + retry_s)) ]; exit ;;
esac
trap 'kill $! 2> /dev/null || :; exit 0' TERM INT
while :; do
  found=$(age)
  # A restart of this container must not make an extra copy, because each copy replaces the oldest one.
  pause_s=$((BACKUP_INTERVAL_S - ${found:-$BACKUP_INTERVAL_S}))
  if [ "$pause_s" -le 0 ]; then
    if copy; then pause_s=$BACKUP_INTERVAL_S; else pause_s=$retry_s; fi
  fi
  sleep "$pause_s" &
  wait $!
done
