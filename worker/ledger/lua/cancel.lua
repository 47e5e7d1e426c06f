-- Ends a queued or running job. Returns {state before, or '' for no job; state now}.
-- The epoch rises, so the next write of its worker is refused and the worker stops. Commits stay.
-- ARGV: id, result_ttl_ms
local job = KEYS[4]
local before = redis.call('HGET', job, 'state') or ''
if before ~= 'queued' and before ~= 'running' then return {before, before} end
redis.call('HINCRBY', job, 'epoch', 1)
conclude(job, KEYS[5], ARGV[1], ARGV[2], 'cancelled', 'cancelled', 'cancelled')
return {before, 'cancelled'}
