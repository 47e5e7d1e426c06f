-- Begins the next attempt under the same lease, with the reason of the last one. Returns 1, or 0 when not owned.
-- KEYS: job, commits, leases    ARGV: id, epoch, lease_ms, ttl_ms, error code, error
local job, commits, leases = unpack(KEYS)
local id, epoch, lease_ms, ttl_ms, code, reason = unpack(ARGV)
if not owned(job, epoch) then return 0 end
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSET', job, 'commits', '0', 'sent_s', '0', 'committed_s', '0', 'partial', '', 'error_code', code, 'error', reason)
redis.call('DEL', commits)
extend(job, commits, leases, id, lease_ms, ttl_ms)
return 1
