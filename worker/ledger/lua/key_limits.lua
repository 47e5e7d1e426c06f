-- One step of the limits of a key of the HTTP API; see tasks/api/key_limits.py. Atomic for all processes.
-- KEYS: 1 waiting jobs of the key (set), 2 seconds of audio of the day (string), 3 jobs of the day with unknown duration
--       (set), 4 reservations (zset: `TOKEN JOBS SECONDS` -> time in ms at which it expires)
-- ARGV: step, token or '', then
--   reserve: jobs, seconds, maximum of waiting jobs or 0, maximum seconds or 0, ttl_ms
--            -> {'ok' | 'waiting' | 'audio', waiting jobs, seconds}. Without a token, only checks.
--   note: seconds, ttl_ms of the waiting jobs or 0, ttl_ms of the day or 0, number of ids with an unknown duration, these
--         ids, other ids     -> moves jobs from the reservation to the counts; a ttl of 0 leaves the count out
--   release:               -> ends the rest of the reservation
local waiting, audio, unknown, reserved = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, token = ARGV[1], ARGV[2]
redis.call('ZREMRANGEBYSCORE', reserved, '-inf', text(now_ms()))  -- of killed processes

local own, own_jobs, own_s = nil, 0, 0
local jobs, seconds = 0, 0  -- of the other reservations
for _, member in ipairs(redis.call('ZRANGE', reserved, 0, -1)) do
  local name, count, length = member:match('^(%S+) (%S+) (%S+)$')
  if name == token then
    own, own_jobs, own_s = member, tonumber(count), tonumber(length)
  else
    jobs, seconds = jobs + tonumber(count), seconds + tonumber(length)
  end
end

local function member_of(count, length)
  return string.format('%s %.0f %.3f', token, count, length)
end

if step == 'reserve' then
  local more, more_s, most, most_s = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  jobs = jobs + redis.call('SCARD', waiting)
  seconds = seconds + tonumber(redis.call('GET', audio) or 0)
  local answer = 'ok'
  if most > 0 and jobs + more > most then
    answer = 'waiting'
  elseif most_s > 0 and (seconds + more_s > most_s or seconds >= most_s) then
    answer = 'audio'
  elseif token ~= '' then
    if own then redis.call('ZREM', reserved, own) end  -- a retry: the answer to the first call was lost
    redis.call('ZADD', reserved, text(now_ms() + tonumber(ARGV[7])), member_of(more, more_s))
    redis.call('PEXPIRE', reserved, ARGV[7])
  end
  return {answer, jobs, string.format('%.3f', seconds)}
end

if step == 'note' then
  local more_s, waiting_ms, day_ms, unknowns = tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
  for index = 7, #ARGV do
    if waiting_ms ~= '0' then redis.call('SADD', waiting, ARGV[index]) end
    if day_ms ~= '0' and index < 7 + unknowns then redis.call('SADD', unknown, ARGV[index]) end
  end
  if waiting_ms ~= '0' then redis.call('PEXPIRE', waiting, waiting_ms) end
  if day_ms ~= '0' then
    redis.call('INCRBYFLOAT', audio, ARGV[3])
    redis.call('PEXPIRE', audio, day_ms)
    redis.call('PEXPIRE', unknown, day_ms)
  end
  if own then
    local rest, rest_s = math.max(0, own_jobs - (#ARGV - 6)), math.max(0, own_s - more_s)
    local until_ms = redis.call('ZSCORE', reserved, own)
    redis.call('ZREM', reserved, own)
    redis.call('ZADD', reserved, until_ms, member_of(rest, rest_s))
  end
  return 1
end

if own then redis.call('ZREM', reserved, own) end
return 1
