-- One exchange of a worker process with the governor of an API key: gives slots back, keeps those in use, and hands out
-- free ones to the waiting sessions in their order. Atomic; asked twice, it answers the same.
-- KEYS: slots (zset: token -> end of its lease in ms), waiting (zset: token -> place), seen (zset: token -> when a
--       waiting token that is not asked for any more is forgotten, ms), state (hash), flows (hash: flow -> last place)
-- ARGV: the request as JSON:
--   ttl_ms, seen_ms, keys_ms    life of a slot, of a waiting token, of the keys
--   most                        STT_API_KEY_MAX_SESSIONS, 0 for no limit
--   starts_per_s                0 for no limit
--   busy                        whether the service said that it is at its limit
--   shrink, shrink_ms, hold_ms, regrow_s   see worker/ledger/session_limiter.py
--   jobs                        start of the keys of jobs
--   free, keep                  tokens
--   wait                        {token, job id, place or ''} of each
-- Returns {granted tokens, lost tokens, place of each in `wait` ('' when granted), ms until a try is worth it or 0,
--          slots in use, limit in force or '' for none}
local slots, waiting, seen, state, flows = unpack(KEYS)
local ask = cjson.decode(ARGV[1])
local now = now_ms()
-- Places are as in the line of jobs (common.lua): level * LEVEL + round, in one level the flows in turn.
local MOST_FLOWS = 2000

for _, token in ipairs(ask.free) do
  redis.call('ZREM', slots, token)
  redis.call('ZREM', waiting, token)
  redis.call('ZREM', seen, token)
end
redis.call('ZREMRANGEBYSCORE', slots, '-inf', text(now))
for _, token in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', text(now), 'LIMIT', 0, 1000)) do
  redis.call('ZREM', waiting, token)
  redis.call('ZREM', seen, token)
end
local held = redis.call('ZCARD', slots)

-- The limit: `most`, or less after the service was busy; then it rises again, to `most` (without one: to twice what
-- was held when it fell, and then there is none).
local function limit_now()
  local at = redis.call('HMGET', state, 'limit', 'at', 'rise', 'top')
  local limit, top = tonumber(at[1]), tonumber(at[4])
  if ask.most > 0 then top = ask.most end
  if limit then
    limit = limit + math.max(0, now - tonumber(at[2])) / 1000 * tonumber(at[3])
    if limit < top then return limit end
    redis.call('HDEL', state, 'limit', 'at', 'rise', 'top')
  end
  return ask.most > 0 and ask.most or math.huge
end
local limit = limit_now()
if ask.busy and now >= tonumber(redis.call('HGET', state, 'deaf') or 0) then
  local used = math.max(1, math.min(limit, held))
  local top = ask.most > 0 and ask.most or 2 * used
  limit = math.max(1, math.floor(used * ask.shrink))
  redis.call('HSET', state, 'limit', limit, 'top', top, 'rise', tostring(math.max(top / ask.regrow_s, 0.05)),
    'at', text(now + ask.hold_ms), 'deaf', text(now + ask.shrink_ms))
end

-- Slots in use. One that lapsed comes back while there is room, else its session has to end.
local lost = {}
for _, token in ipairs(ask.keep) do
  if not redis.call('ZSCORE', slots, token) then
    if held < math.floor(limit) then held = held + 1 else lost[#lost + 1] = token; token = nil end
  end
  if token then redis.call('ZADD', slots, text(now + ask.ttl_ms), token) end
end

-- The place of a newcomer: behind what its own batch has waiting, but not behind the rest of other batches.
local function place_of(id)
  local spec = redis.call('HGET', ask.jobs .. id, 'spec')
  local known, job = pcall(cjson.decode, spec or '{}')
  if not known or type(job) ~= 'table' then job = {} end
  local level = LEVELS[job.priority] or LEVELS.normal
  local batch = type(job.batch) == 'string' and ('batch ' .. job.batch) or ('job ' .. id)
  local flow = level .. ' ' .. batch
  local last = tonumber(redis.call('HGET', flows, flow))
  local served = tonumber(redis.call('HGET', state, 'served' .. level) or 0)
  if not last and redis.call('HLEN', flows) % MOST_FLOWS == MOST_FLOWS - 1 then
    local all = redis.call('HGETALL', flows)
    for i = 1, #all, 2 do
      local their = tonumber(redis.call('HGET', state, 'served' .. all[i]:sub(1, 1)) or 0)
      if tonumber(all[i + 1]) <= their then redis.call('HDEL', flows, all[i]) end
    end
  end
  local round = math.max(served, last or 0) + 1
  redis.call('HSET', flows, flow, text(round))
  return level * LEVEL + round
end

local places = {}
for i, one in ipairs(ask.wait) do
  local token, id, place = one[1], one[2], tonumber(one[3])
  if redis.call('ZSCORE', slots, token) then
    places[i] = 0
  else
    place = tonumber(redis.call('ZSCORE', waiting, token)) or place or place_of(id)
    redis.call('ZADD', waiting, text(place), token)
    redis.call('ZADD', seen, text(now + ask.seen_ms), token)
    places[i] = place
  end
end

local starts, rate = math.huge, ask.starts_per_s
if rate > 0 then
  local at = redis.call('HMGET', state, 'starts', 'starts_at')
  local most = math.max(1, rate)
  starts = math.min(most, (tonumber(at[1]) or most) + math.max(0, now - (tonumber(at[2]) or now)) / 1000 * rate)
end

-- Whoever stands in front keeps its slot free until it asks, so that nobody is overtaken.
local granted, texts, pause = {}, {}, 0
for i, one in ipairs(ask.wait) do
  local token, place = one[1], places[i]
  local ahead = place > 0 and redis.call('ZRANK', waiting, token) or 0
  local room = place == 0 or ahead < math.floor(limit) - held
  if room and (place == 0 or ahead < math.floor(starts)) then
    if place > 0 then
      held = held + 1
      starts = starts - 1
      local level = math.floor(place / LEVEL)
      local served = tonumber(redis.call('HGET', state, 'served' .. level) or 0)
      redis.call('HSET', state, 'served' .. level, text(math.max(served, place % LEVEL)))
    end
    redis.call('ZADD', slots, text(now + ask.ttl_ms), token)
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

for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ask.keys_ms) end
return { granted, lost, texts, pause, held, limit == math.huge and '' or text(math.floor(limit)) }
