#!/bin/sh
# Replaces the data of Valkey with a copy of deploy/backup.sh. Valkey must be stopped.
#   restore.sh latest | valkey-….rdb
set -eu
umask 077
backups=$BACKUP_FOLDER
data=$VALKEY_FOLDER
fail() { echo "not restored: $1" >&2; exit 1; }

file=
for copy in "$backups"/valkey-*.rdb; do
  if [ "${1:-}" = latest ] || [ "$copy" = "$backups/${1:-}" ]; then file=$copy; fi
done
if [ $# != 1 ] || [ ! -f "$file" ]; then
  echo "existing copies (name one of them, or \`latest\`):" >&2
  for copy in "$backups"/valkey-*.rdb; do [ ! -f "$copy" ] || echo "  ${copy##*/}" >&2; done
  fail "there is no copy with the name '${1:-}'"
fi
# Any answer, even an error, means that Valkey runs. It would write to the folder at the same time.
if REDISCLI_AUTH=$(cat /run/secrets/password) timeout 10 valkey-cli -h "${QUEUE%:*}" -p "${QUEUE##*:}" ping > /dev/null 2>&1; then
  fail "Valkey runs; stop all services first: docker compose stop"
fi
# Valkey with an append-only file ignores dump.rdb. The copy therefore becomes the base of a new append-only file.
new=$data/appendonlydir.new
rm -rf "$new"
mkdir "$new"
cp "$file" "$new/appendonly.aof.1.base.rdb"
echo "file appendonly.aof.1.base.rdb seq 1 type b" > "$new/appendonly.aof.manifest"
# valkey-check-aof cannot check it: in Valkey 9.1, it does not know the snapshot format of its own version.
valkey-check-rdb "$new/appendonly.aof.1.base.rdb" > /tmp/restore.log 2>&1 ||
  fail "${file##*/} is damaged: $(grep -v '^\[info\]' /tmp/restore.log | tail -n 1)"
old=$data/replaced-$(date -u +%Y%m%dT%H%M%SZ)
mkdir "$old"
for path in "$data/appendonlydir" "$data"/*.rdb; do [ ! -e "$path" ] || mv "$path" "$old/"; done
mv "$new" "$data/appendonlydir"
echo "restored ${file##*/}; start all services: docker compose up -d"
echo "The replaced data are in the volume of Valkey. To delete them:"
echo "  docker compose run --rm --entrypoint rm restore -r $old"
