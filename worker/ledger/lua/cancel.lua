-- Ends a job that waits or runs. Returns {state before, or '' for none; state now}.
-- The epoch rises, so whoever runs it is refused from its next write on and stops. What was committed stays.
-- ARGV: id, result_ttl_ms
local job = KEYS[4]
local before = redis.call('HGET', job, 'state') or ''
if before ~= 'queued' and before ~= 'running' then return {before, before} end
redis.call('HINCRBY', job, 'epoch', 1)
conclude(job, KEYS[5], ARGV[1], ARGV[2], 'cancelled', 'cancelled', 'cancelled')
return {before, 'cancelled'}
