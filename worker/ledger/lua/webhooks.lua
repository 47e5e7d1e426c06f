-- One step of the outbox. What it does is in ARGV[1]; see worker/webhooks/outbox.py.
-- KEYS: outbox (zset: message -> when it is due, ms), dead (zset: message -> when it failed for good, ms)
-- ARGV: step, start of the keys of messages, then
--   take: count, hold_ms      -> {{message, attempt, field, value, ...}, ...}: messages that are due, which nobody else
--                                gets for hold_ms
--   done: message, attempt    -> 1, or 0 when another one has it by now
--   later: message, attempt, delay_ms, reason   -> as done
--   dead: message, attempt, ttl_ms, reason      -> as done
--   again: message, ttl_ms    -> 1 when it was dead and is due now, else 0
-- and for a batch, with KEYS 3 its hook (hash), 4 its members, 5 batches to look at (zset)
--   batch: id, start of job keys, message, ttl_ms  -> 1 when its end was put into the outbox, 0 when it is not at its end
-- and in the end of ARGV the version of the caller. Where that is too old to read what lies here, every step but those on a
-- message it has taken already answers {'newer', least version that may}.
local outbox, dead = KEYS[1], KEYS[2]
local step, start = ARGV[1], ARGV[2]

if step == 'take' or step == 'again' or step == 'batch' then
  local schema = outbox:sub(1, -9) .. 'schema'  -- beside `webhooks`
  local newer = too_new(redis.call('HGET', schema, 'reader'), ARGV[#ARGV])
  if newer ~= '' then return {'newer', newer} end
end

if step == 'take' then
  local taken = {}
  for _, message in ipairs(redis.call('ZRANGEBYSCORE', outbox, '-inf', text(now_ms()), 'LIMIT', 0, ARGV[3])) do
    local key = start .. message
    if redis.call('TYPE', key).ok ~= 'hash' then
      redis.call('ZREM', outbox, message)  -- it has expired, or another program wrote to its key
    else
      redis.call('ZADD', outbox, text(now_ms() + tonumber(ARGV[4])), message)
      local attempt = redis.pcall('HINCRBY', key, 'attempts', 1)
      if type(attempt) ~= 'number' then
        attempt = 1
        redis.call('HSET', key, 'attempts', '1')
      end
      local found = { message, tostring(attempt) }
      for _, value in ipairs(redis.call('HGETALL', key)) do found[#found + 1] = value end
      taken[#taken + 1] = found
    end
  end
  return taken
end

if step == 'again' then
  if redis.call('ZREM', dead, ARGV[3]) == 0 then return 0 end
  if redis.call('EXISTS', start .. ARGV[3]) == 0 then return 0 end
  redis.call('HSET', start .. ARGV[3], 'attempts', '0')
  redis.call('PEXPIRE', start .. ARGV[3], ARGV[4])
  redis.call('ZADD', outbox, text(now_ms()), ARGV[3])
  redis.call('PEXPIRE', outbox, ARGV[4])
  return 1
end

if step == 'batch' then
  local id, jobs, message, ttl_ms = unpack(ARGV, 3)
  local hook, members, watched = KEYS[3], KEYS[4], KEYS[5]
  local url = redis.call('HGET', hook, 'url')
  if not url then
    redis.call('ZREM', watched, id)
    return 0
  end
  redis.call('ZADD', watched, 'XX', text(now_ms()), id)
  local function one_waits(some)
    for _, job in ipairs(some) do
      local state = redis.pcall('HGET', jobs .. job, 'state')  -- a key of another type is not a waiting job
      if state == 'queued' or state == 'running' then
        redis.call('HSET', hook, 'witness', job)
        return true
      end
    end
    return false
  end
  -- Most looks end here: with the job that was not at its end the last time, or with one of a few.
  if one_waits({ redis.call('HGET', hook, 'witness') or '' }) then return 0 end
  if one_waits(redis.call('SRANDMEMBER', members, 10)) then return 0 end
  local all = redis.call('SMEMBERS', members)
  if one_waits(all) then return 0 end
  local counts, total = {}, 0
  for _, job in ipairs(all) do
    local state = redis.pcall('HGET', jobs .. job, 'state')
    if type(state) ~= 'string' then state = 'expired' end
    counts[state] = (counts[state] or 0) + 1
    total = total + 1
  end
  put_out(start .. message, message, outbox, ttl_ms, 'kind', 'batch', 'url', url, 'batch', id, 'total', text(total),
    'counts', cjson.encode(counts), 'ended', text(now_ms()))
  redis.call('ZREM', watched, id)
  redis.call('DEL', hook)
  return 1
end

local message, attempt = ARGV[3], ARGV[4]
local key = start .. message
if redis.call('HGET', key, 'attempts') ~= attempt or not redis.call('ZSCORE', outbox, message) then return 0 end
if step == 'done' then
  redis.call('ZREM', outbox, message)
  redis.call('DEL', key)
elseif step == 'later' then
  redis.call('HSET', key, 'reason', ARGV[6])
  redis.call('ZADD', outbox, text(now_ms() + tonumber(ARGV[5])), message)
else
  redis.call('HSET', key, 'reason', ARGV[6])
  redis.call('PEXPIRE', key, ARGV[5])
  redis.call('ZREM', outbox, message)
  redis.call('ZADD', dead, text(now_ms()), message)
  redis.call('PEXPIRE', dead, ARGV[5])
end
return 1
