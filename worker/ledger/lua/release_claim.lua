-- Removes a claim on a job. Cancels the job if it exists for claims only and this was the last one.
-- Returns {state before, or '' for no job; state now}. A repeated call changes nothing more.
-- ARGV: id, result_ttl_ms, claim
local job = KEYS[4]
local before = redis.call('HGET', job, 'state') or ''
redis.call('SREM', job .. ':claims', ARGV[3])
local claimed = redis.call('HGET', job, 'claimed') == '1' and redis.call('SCARD', job .. ':claims') == 0
if not claimed or (before ~= 'queued' and before ~= 'running') then return {before, before} end
redis.call('HINCRBY', job, 'epoch', 1)
conclude(job, KEYS[5], ARGV[1], ARGV[2], 'cancelled', 'cancelled', 'cancelled: every client that waited for it has gone')
return {before, 'cancelled'}
