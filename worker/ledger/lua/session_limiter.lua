-- One request of a worker process: releases slots, renews slots in use, and grants free slots to waiting sessions in the
-- order of the queue. Atomic. The same request sent twice (the first answer was lost) gets the same answer.
-- KEYS: slots (zset: token -> end of its lease in ms), waiting (zset: token -> place), seen (zset: token -> time in ms
--       after which a waiting token that is not requested again loses its place), state (hash), flows (hash: flow ->
--       round of its last session)
-- ARGV: the request as JSON:
--   ttl_ms, waiting_ttl_ms, key_ttl_ms   lifetime of a slot, of a waiting token, of the keys
--   max_sessions                STT_API_KEY_MAX_SESSIONS, 0 for no limit
--   starts_per_s                0 for no limit
--   first_starts, first_starts_per_s   burst and rate of session starts until a session with this key has succeeded
--   busy                        whether the service reported that it is at its limit
--   pause_ms                    pause that the service demands, 0 for none
--   succeeded                   whether a session with this key has succeeded
--   busy_factor, busy_interval_ms, rise_delay_ms, rise_s   see worker/ledger/session_limiter.py
--   job_prefix                  prefix of the keys of jobs
--   release, renew              tokens
--   waiting                     {token, job id, place or ''} of each
-- Returns {granted tokens, lost tokens, place of each in `waiting` ('' when granted), ms until a slot may be free or 0,
--          slots in use, current limit or '' for none, whether a session with this key has ever succeeded (0/1)}
-- Fields of state: `limit`, the limit at the time `at`; `rise`, its rise per second; `top`, the value at which it ends;
--   `deaf`, the time until which busy reports are ignored; `closed`, the end of a pause; `accepted`, 1 after the first
--   success; `served` and a level, its round served last; `starts`,
--   `starts_at`: the token bucket of session starts.
local slots, waiting, seen, state, flows = unpack(KEYS)
local request = cjson.decode(ARGV[1])
local now = now_ms()
-- A place is level * LEVEL + round, as in the queue of jobs (common.lua): round-robin over the flows of a level. A flow is
-- a batch, or a job without one.
local MAX_FLOWS = 2000

for _, token in ipairs(request.release) do
  redis.call('ZREM', slots, token)
  redis.call('ZREM', waiting, token)
  redis.call('ZREM', seen, token)
end
redis.call('ZREMRANGEBYSCORE', slots, '-inf', text(now))
for _, token in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', text(now), 'LIMIT', 0, 1000)) do
  redis.call('ZREM', waiting, token)
  redis.call('ZREM', seen, token)
end
local in_use = redis.call('ZCARD', slots)

-- The present limit: `max_sessions`, or less after the service was busy. It rises again to `max_sessions`; without one, to
-- twice the slots that were in use when it fell, and then there is no limit.
local function current_limit()
  local at = redis.call('HMGET', state, 'limit', 'at', 'rise', 'top')
  local limit, top = tonumber(at[1]), tonumber(at[4])
  if request.max_sessions > 0 then top = request.max_sessions end
  if limit then
    limit = limit + math.max(0, now - tonumber(at[2])) / 1000 * tonumber(at[3])
    if limit < top then return limit end
    redis.call('HDEL', state, 'limit', 'at', 'rise', 'top')
  end
  return request.max_sessions > 0 and request.max_sessions or math.huge
end
local limit = current_limit()
-- All processes report the same overload within a short time; only the first report lowers the limit.
if request.busy and now >= tonumber(redis.call('HGET', state, 'deaf') or 0) then
  local used = math.max(1, math.min(limit, in_use))
  local top = request.max_sessions > 0 and request.max_sessions or 2 * used
  limit = math.max(1, math.floor(used * request.busy_factor))
  redis.call('HSET', state, 'limit', limit, 'top', top, 'rise', tostring(math.max(top / request.rise_s, 0.05)),
    'at', text(now + request.rise_delay_ms), 'deaf', text(now + request.busy_interval_ms))
end

if request.succeeded then redis.call('HSET', state, 'accepted', 1) end
local closed = tonumber(redis.call('HGET', state, 'closed') or 0)
if request.pause_ms and request.pause_ms > 0 then
  closed = math.max(closed, now + request.pause_ms)
  redis.call('HSET', state, 'closed', text(closed))
end

-- Renew slots. An expired slot is granted again while there is room, else it is lost and its session has to end.
local lost = {}
-- A slot expires if its process was suspended or cut off from Redis for too long.
for _, token in ipairs(request.renew) do
  if not redis.call('ZSCORE', slots, token) then
    if in_use < math.floor(limit) then in_use = in_use + 1 else lost[#lost + 1] = token; token = nil end
  end
  if token then redis.call('ZADD', slots, text(now + request.ttl_ms), token) end
end

-- The place of a new session: the round after the last one of its own flow, or after the round served last.
local function new_place(id)
  local spec = redis.call('HGET', request.job_prefix .. id, 'spec')
  local known, job = pcall(cjson.decode, spec or '{}')
  if not known or type(job) ~= 'table' then job = {} end
  local level = LEVELS[job.priority] or LEVELS.normal
  local batch = type(job.batch) == 'string' and ('batch ' .. job.batch) or ('job ' .. id)
  local flow = level .. ' ' .. batch
  local last = tonumber(redis.call('HGET', flows, flow))
  local served = tonumber(redis.call('HGET', state, 'served' .. level) or 0)
  -- Flows without waiting sessions are removed now and then: at each multiple of MAX_FLOWS.
  if not last and redis.call('HLEN', flows) % MAX_FLOWS == MAX_FLOWS - 1 then
    local all = redis.call('HGETALL', flows)
    for i = 1, #all, 2 do
      local round_served = tonumber(redis.call('HGET', state, 'served' .. all[i]:sub(1, 1)) or 0)
      if tonumber(all[i + 1]) <= round_served then redis.call('HDEL', flows, all[i]) end
    end
  end
  local round = math.max(served, last or 0) + 1
  redis.call('HSET', flows, flow, text(round))
  return level * LEVEL + round
end

local places = {}
for i, session in ipairs(request.waiting) do
  local token, id, place = session[1], session[2], tonumber(session[3])
  if redis.call('ZSCORE', slots, token) then
    places[i] = 0
  else
    place = tonumber(redis.call('ZSCORE', waiting, token)) or place or new_place(id)
    redis.call('ZADD', waiting, text(place), token)
    redis.call('ZADD', seen, text(now + request.waiting_ttl_ms), token)
    places[i] = place
  end
end

local starts, rate, burst = math.huge, request.starts_per_s, math.max(1, request.starts_per_s)
-- A key that has never succeeded may be wrong, or its account empty. All workers together must not try it more often than
-- the pause of a key allows, and the pause begins only with the first refusal.
if redis.call('HGET', state, 'accepted') ~= '1' then
  burst = math.min(rate > 0 and burst or math.huge, request.first_starts)
  rate = math.min(rate > 0 and rate or math.huge, request.first_starts_per_s)
end
if rate > 0 then
  local at = redis.call('HMGET', state, 'starts', 'starts_at')
  starts = math.min(burst, (tonumber(at[1]) or burst) + math.max(0, now - (tonumber(at[2]) or now)) / 1000 * rate)
end

-- A session gets a slot if there are more free slots than sessions before it in the queue. The first sessions may belong to
-- other processes, which have not asked yet; their slots stay free, so no session is overtaken.
local granted, texts, pause = {}, {}, 0
for i, session in ipairs(request.waiting) do
  local token, place = session[1], places[i]
  local ahead = place > 0 and redis.call('ZRANK', waiting, token) or 0
  local room = place == 0 or ahead < math.floor(limit) - in_use
  if place > 0 and now < closed then
    texts[i] = text(place)
    pause = closed - now
  elseif room and (place == 0 or ahead < math.floor(starts)) then
    if place > 0 then
      in_use = in_use + 1
      starts = starts - 1
      local level = math.floor(place / LEVEL)
      local served = tonumber(redis.call('HGET', state, 'served' .. level) or 0)
      redis.call('HSET', state, 'served' .. level, text(math.max(served, place % LEVEL)))
    end
    redis.call('ZADD', slots, text(now + request.ttl_ms), token)
    redis.call('ZREM', waiting, token)
    redis.call('ZREM', seen, token)
    granted[#granted + 1] = token
    texts[i] = ''
  else
    texts[i] = text(place)
    if room then
      local wait_ms = math.ceil((ahead + 1 - starts) / rate * 1000)
      if pause == 0 or wait_ms < pause then pause = wait_ms end
    end
  end
end
if rate > 0 then redis.call('HSET', state, 'starts', tostring(starts), 'starts_at', text(now)) end

for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, request.key_ttl_ms) end
return { granted, lost, texts, pause, in_use, limit == math.huge and '' or text(math.floor(limit)),
  tonumber(redis.call('HGET', state, 'accepted') or 0) }
