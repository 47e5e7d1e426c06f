-- One step of the outbox, named by ARGV[1]; see worker/webhooks/outbox.py.
-- KEYS: outbox (zset: message -> time of the next attempt, ms), dead (zset: message -> time of the final failure, ms)
-- ARGV: step, prefix of the keys of messages, then
--   claim: count, claim_ms, scan, per_receiver, per_host, then pairs of a name and a number
--       -> {more, {message, attempt, receiver, host, field, value, ...}, ...}: due messages, which no other worker gets for
--          claim_ms: at most per_receiver of one receiver and per_host of one host, and at most the number for the name
--          of a receiver or host that has one. `more` is 1 if a further call may find more. Reads at most `scan` messages.
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

-- The names of a message's receiver (its address without the query) and of the receiver's host. They are hashes, because
-- an address can be long and may have bytes that the caller cannot return.
local function names_of(url)
  local address = url:match('^[^?#]*')
  local host = address:match('^%a[%w+.-]*://[^/]*') or address
  return 'r' .. redis.sha1hex(address), 'h' .. redis.sha1hex(host:lower())
end

local function claimed_message(message, key, claim_ms, receiver, host)
  redis.call('ZADD', outbox, text(now_ms() + claim_ms), message)
  local attempt = redis.pcall('HINCRBY', key, 'attempts', 1)
  if type(attempt) ~= 'number' then
    attempt = 1
    redis.call('HSET', key, 'attempts', '1')
  end
  local found = { message, tostring(attempt), receiver, host }
  for _, value in ipairs(redis.call('HGETALL', key)) do found[#found + 1] = value end
  return found
end

-- Delay of messages that had to be passed over, when so many of them are due that they would hide the others. Each one
-- gets a later time than the one before it, so that they do not all become due again at once.
local PASSED_OVER_MS, PASSED_OVER_STEP_MS = 2000, 20

if step == 'claim' then
  local count, claim_ms, scan = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local free = {}
  for index = 8, #ARGV - 2, 2 do free[ARGV[index]] = tonumber(ARGV[index + 1]) end
  local answer, passed_over = { 0 }, {}
  local due = redis.call('ZRANGEBYSCORE', outbox, '-inf', text(now_ms()), 'LIMIT', 0, scan)
  for _, message in ipairs(due) do
    if #answer > count then return answer end
    local key = start .. message
    if redis.call('TYPE', key).ok ~= 'hash' then
      redis.call('ZREM', outbox, message)  -- it has expired, or another program wrote to its key
    else
      local receiver, host = names_of(redis.call('HGET', key, 'url') or '')
      local of_receiver, of_host = free[receiver] or tonumber(ARGV[6]), free[host] or tonumber(ARGV[7])
      if of_receiver > 0 and of_host > 0 then
        free[receiver], free[host] = of_receiver - 1, of_host - 1
        answer[#answer + 1] = claimed_message(message, key, claim_ms, receiver, host)
      else
        passed_over[#passed_over + 1] = message
      end
    end
  end
  if #due < scan then return answer end
  answer[1] = 1
  for index, message in ipairs(passed_over) do
    redis.call('ZADD', outbox, text(now_ms() + PASSED_OVER_MS + index * PASSED_OVER_STEP_MS), message)
  end
  return answer
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
