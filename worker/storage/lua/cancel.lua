-- Ends a job that waits or runs. Returns {state before, or '' for none; state now}.
-- The epoch rises, so whoever runs it is refused from its next write on and stops.
-- KEYS: job, commits, leases    ARGV: id, result_ttl_ms
local job, commits, leases = unpack(KEYS)
local before = redis.call('HGET', job, 'state') or ''
if before ~= 'queued' and before ~= 'running' then return {before, before} end
redis.call('HINCRBY', job, 'epoch', 1)
let_go(job, leases, ARGV[1])
redis.call('HSET', job, 'state', 'cancelled', 'ended', text(now_ms()), 'error_code', 'cancelled', 'error', 'cancelled')
redis.call('PEXPIRE', commits, ARGV[2])
redis.call('PEXPIRE', job, ARGV[2])
return {before, 'cancelled'}
