-- Compares one webhook with the lists of the outbox, and repairs them if `fix` is 1. Returns {code, detail, ...} as
-- check_job.lua.
-- KEYS: outbox, dead letters, key of the message    ARGV: message, fix (0/1), ttl_ms
local message, fix, ttl_ms = ARGV[1], ARGV[2] == '1', ARGV[3]
local waiting, dead = redis.call('ZSCORE', KEYS[1], message), redis.call('ZSCORE', KEYS[2], message)
local exists = redis.call('TYPE', KEYS[3]).ok == 'hash'
if not exists and (waiting or dead) then
  if fix then
    redis.call('ZREM', KEYS[1], message)
    redis.call('ZREM', KEYS[2], message)
  end
  return { 'no_message', '' }
end
if exists and not waiting and not dead then
  if fix then
    redis.call('ZADD', KEYS[1], text(now_ms()), message)
    redis.call('PEXPIRE', KEYS[1], ttl_ms)
  end
  return { 'unlisted_message', '' }
end
return {}
