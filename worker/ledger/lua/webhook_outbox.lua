-- One step of the outbox, named by ARGV[1]; see worker/webhooks/outbox.py.
-- KEYS: outbox (zset: message -> time of the next attempt, ms), dead (zset: message -> time of the final failure, ms)
-- ARGV: step, prefix of the keys of messages, then
--   claim: count, claim_ms          -> {{message, attempt, field, value, ...}, ...}: due messages, which no other worker
--                                      gets for claim_ms
--   delivered: message, attempt     -> 1, or 0 if another worker has claimed the message since
--   retry_later: message, attempt, delay_ms, reason   -> as delivered
--   dead_letter: message, attempt, ttl_ms, reason     -> as delivered
--   requeue: message, ttl_ms        -> 1 if the message was a dead letter and is due now, else 0
-- and for a batch, with KEYS 3 its hook (hash), 4 its members, 5 batches with a webhook (zset)
--   batch: id, prefix of job keys, message, ttl_ms    -> 1 if its end was added to the outbox, 0 if it has not ended
-- The last element of ARGV is the version of the caller. If it cannot read the records of this Redis, every step answers
-- {'newer', oldest version that can}, except the steps on a message that the caller has claimed already.
local outbox, dead = KEYS[1], KEYS[2]
local step, start = ARGV[1], ARGV[2]

if step == 'claim' or step == 'requeue' or step == 'batch' then
  local schema = outbox:sub(1, -9) .. 'schema'  -- the prefix is that of the key `webhooks`
  local newer = too_new(redis.call('HGET', schema, 'reader'), ARGV[#ARGV])
  if newer ~= '' then return {'newer', newer} end
end

if step == 'claim' then
  local claimed = {}
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
      claimed[#claimed + 1] = found
    end
  end
  return claimed
end

if step == 'requeue' then
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
  -- To the end of the order of checks. XX: a batch that another process has just removed must not return.
  redis.call('ZADD', watched, 'XX', text(now_ms()), id)
  -- Whether one of these jobs waits or runs. It becomes the witness, which the next check reads first.
  local function any_unfinished(some)
    for _, job in ipairs(some) do
      local state = redis.pcall('HGET', jobs .. job, 'state')  -- a key of another type is not a waiting job
      if state == 'queued' or state == 'running' then
        redis.call('HSET', hook, 'witness', job)
        return true
      end
    end
    return false
  end
  -- Most checks end here, without reading all members: at the witness of the last check, or at one of a few others.
  if any_unfinished({ redis.call('HGET', hook, 'witness') or '' }) then return 0 end
  if any_unfinished(redis.call('SRANDMEMBER', members, 10)) then return 0 end
  local all = redis.call('SMEMBERS', members)
  if any_unfinished(all) then return 0 end
  local counts, total = {}, 0
  for _, job in ipairs(all) do
    local state = redis.pcall('HGET', jobs .. job, 'state')
    if type(state) ~= 'string' then state = 'expired' end
    counts[state] = (counts[state] or 0) + 1
    total = total + 1
  end
  add_to_outbox(start .. message, message, outbox, ttl_ms, 'kind', 'batch', 'url', url, 'batch', id, 'total', text(total),
    'counts', cjson.encode(counts), 'ended', text(now_ms()))
  redis.call('ZREM', watched, id)
  redis.call('DEL', hook)
  return 1
end

local message, attempt = ARGV[3], ARGV[4]
local key = start .. message
-- The number of attempts has risen if another worker has claimed the message since.
if redis.call('HGET', key, 'attempts') ~= attempt or not redis.call('ZSCORE', outbox, message) then return 0 end
if step == 'delivered' then
  redis.call('ZREM', outbox, message)
  redis.call('DEL', key)
elseif step == 'retry_later' then
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
