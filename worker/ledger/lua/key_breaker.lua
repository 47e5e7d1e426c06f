-- One step of the circuit breaker of an API key, named by ARGV[1]; see worker/ledger/key_breaker.py. Atomic.
-- KEYS: 1 breaker (hash), 2 handshakes of the last hour (zset: random name -> time in ms), 3 paused keys (zset: name of the
--       breaker -> time of the pause in ms)
-- ARGV: step, name of the breaker, ttl_ms, then
--   check: token or '', probe_ms, max_per_hour  -> a token asks to be the probe
--   refused: token or '', random name, code, reason, first_ms, max_ms, random number from 0 to 1, webhook or ''
--   succeeded: token, random name, webhook or ''
--   release: token, delay_ms, whether its session was opened (0/1)    the probe ended without a result
--   force:                       a probe may run at once
--   read:                        changes nothing, and extends no lifetime
-- Returns {'closed' | 'open' | 'probe', code, reason, since, next, failures, whether this step changed the state (0/1), used}.
-- Fields of the breaker: `open` 0/1, `code`, `reason`, `since`, `next` (time of the next probe), `failures` in a row,
--   `used` (time of the last check by a worker), `probe` (token) until `probe_until`, `closed` (time of the last success of a probe). Times in ms.
local HOUR_MS = 3600000
local breaker, handshakes, paused = KEYS[1], KEYS[2], KEYS[3]
local step, name, ttl_ms = ARGV[1], ARGV[2], ARGV[3]
local now = now_ms()
local at = {}
for index, value in ipairs(redis.call('HMGET', breaker, 'open', 'failures', 'next', 'probe', 'probe_until', 'closed')) do
  at[index] = value or ''
end
local open, failures, next_ms, probe = at[1] == '1', tonumber(at[2]) or 0, tonumber(at[3]) or 0, at[4]
if probe ~= '' and (tonumber(at[5]) or 0) <= now then probe = '' end  -- its worker died
redis.call('ZREMRANGEBYSCORE', handshakes, '-inf', text(now - HOUR_MS))

-- Adds a webhook for the operator to the outbox.
local function tell(url, random_name, what, code, reason)
  if url == '' then return end
  local root = KEYS[3]:sub(1, -9)  -- the prefix of all keys: KEYS[3] ends with `breakers`
  local message = 'msg_' .. random_name
  add_to_outbox(root .. 'webhook:' .. message, message, root .. 'webhooks', ttl_ms, 'kind', 'key', 'url', url, 'key', name,
    'state', what, 'code', code, 'reason', reason, 'at', text(now))
end

local state, changed = open and 'open' or 'closed', 0

if step == 'check' then
  local token, probe_ms, max_per_hour = ARGV[4], ARGV[5], tonumber(ARGV[6])
  if open then redis.call('HSET', breaker, 'used', text(now)) end
  if open and token ~= '' and probe == token then
    state = 'probe'  -- a repeated call
  elseif open and token ~= '' and probe == '' and now >= next_ms and redis.call('ZCARD', handshakes) < max_per_hour then
    redis.call('HSET', breaker, 'probe', token, 'probe_until', text(now + tonumber(probe_ms)))
    redis.call('ZADD', handshakes, text(now), token)
    state = 'probe'
  end
elseif step == 'refused' then
  local token, random_name, code, reason = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
  local first_ms, max_ms, random = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
  local of_probe = token ~= '' and probe == token
  -- The handshake of a probe was counted when it began.
  if not of_probe then redis.call('ZADD', handshakes, text(now), random_name) end
  if not open or of_probe then
    -- A key that is refused soon after it was resumed: the pauses continue to grow.
    if not open and now - (tonumber(at[6]) or 0) > HOUR_MS then failures = 0 end
    local pause_ms = math.min(max_ms, first_ms * 2 ^ failures) * (0.75 + random / 4)
    redis.call('HSET', breaker, 'used', text(now), 'open', '1', 'code', code, 'reason', reason, 'failures', text(failures + 1),
      'next', text(now + pause_ms), 'probe', '')
    if not open then
      redis.call('HSET', breaker, 'since', text(now))
      redis.call('ZADD', paused, text(now), name)
      tell(ARGV[11], random_name, 'paused', code, reason)
      changed = 1
    end
  end
  state = 'open'
elseif step == 'succeeded' then
  if open and ARGV[4] ~= '' and probe == ARGV[4] then
    redis.call('HSET', breaker, 'open', '0', 'probe', '', 'closed', text(now))
    redis.call('ZREM', paused, name)
    tell(ARGV[6], ARGV[5], 'resumed', '', '')
    state, changed = 'closed', 1
  end
elseif step == 'release' then
  if open and probe == ARGV[4] then
    redis.call('HSET', breaker, 'probe', '', 'next', text(now + tonumber(ARGV[5])))
    if ARGV[6] == '0' then redis.call('ZREM', handshakes, ARGV[4]) end
  end
elseif step == 'force' and open then
  redis.call('HSET', breaker, 'next', text(now), 'probe', '')
  redis.call('DEL', handshakes)
  changed = 1
end

-- A key without a record leaves the list: its breaker has expired.
if redis.call('EXISTS', breaker) == 0 then redis.call('ZREM', paused, name) end
if step ~= 'read' then
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ttl_ms) end
end
local facts = redis.call('HMGET', breaker, 'code', 'reason', 'since', 'next', 'failures', 'used')
for index = 1, 6 do facts[index] = facts[index] or '' end
return { state, facts[1], facts[2], facts[3], facts[4], facts[5], changed, facts[6] }
