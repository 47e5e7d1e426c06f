-- Pauses a job, or resumes it (on = 0). Returns {state before, or '' for no job; whether the job changed, 0/1}.
-- A running job loses its worker: the epoch rises and the worker stops. Commits stay.
-- ARGV: id, on, ttl_ms
local job = KEYS[4]
local id, on, ttl_ms = unpack(ARGV)
local record = redis.call('HMGET', job, 'state', 'paused')
local before = record[1] or ''
if (before ~= 'queued' and before ~= 'running') or (record[2] == '1') == (on == '1') then return {before, '0'} end
if on == '1' then
  redis.call('HSET', job, 'paused', '1')
  if before == 'running' then
    -- The next write of its worker is refused, so the worker stops.
    redis.call('HINCRBY', job, 'epoch', 1)
    uncount_attempt(job)
  end
else
  redis.call('HDEL', job, 'paused')
end
enqueue(job, KEYS[5], id, ttl_ms, 0)
return {before, '1'}
