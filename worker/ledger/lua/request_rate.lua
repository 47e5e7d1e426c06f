-- Counts one request of a key of the HTTP API, for all processes together. Atomic.
-- Uses the generic cell rate algorithm. Redis stores one value, the theoretical arrival time: the time at which the next
-- request would be due if all requests arrived at the allowed rate.
-- KEYS: 1 that time in microseconds (string)
-- ARGV: requests a second, requests that may arrive at once
-- Returns 0, or the milliseconds after which the next request is accepted.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local interval, most = 1000000 / tonumber(ARGV[1]), tonumber(ARGV[2])
-- More than the interval of `most` requests ahead of the clock is impossible, unless the clock was set back.
local at = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now), now + most * interval)
local early = at - now - (most - 1) * interval
if early > 0 then return math.ceil(early / 1000) end
redis.call('SET', KEYS[1], text(at + interval), 'PX', text(math.ceil(most * interval / 1000) + 1000))
return 0
