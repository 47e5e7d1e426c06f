-- Appends one commit to the job's stream. Returns 1, or 0 when the caller does not own the job any more. Returns 'behind N' if
-- a failover of Redis lost the commits after number N; the caller must append them first.
-- `number` counts the commits of the job from 1, so a repeated call (its first answer was lost) appends nothing.
-- ARGV: id, epoch, owner, lease_ms, ttl_ms, number, segment, committed_s
local job, commits = KEYS[4], KEYS[5]
local id, epoch, owner, lease_ms, ttl_ms, number, segment, committed_s = unpack(ARGV)
if not owned(job, epoch, owner) then return 0 end
local stored = tonumber(redis.call('HGET', job, 'commits'))
if tonumber(number) > stored + 1 then return 'behind ' .. text(stored) end
if tonumber(number) > stored then
  redis.call('XADD', commits, '*', 'epoch', epoch, 'segment', segment)
  redis.call('HSET', job, 'commits', number, 'committed_s', committed_s, 'partial', '', 'tries', '0',
    'shortages', '0')
end
extend(job, commits, id, lease_ms, ttl_ms)
return 1
