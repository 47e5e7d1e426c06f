-- Makes the caller the owner of a job. Returns {'missing'}, {'ended'}, {'held'} or {'acquired', epoch, spec, attempts,
-- commits}. What earlier owners committed stays: the new one goes on after it.
-- The same owner may take its job again: its first call may have been answered on a connection that broke.
-- KEYS: job, commits, leases
-- ARGV: id, owner, lease_ms, ttl_ms
local job, commits, leases = unpack(KEYS)
local id, owner, lease_ms, ttl_ms = unpack(ARGV)

local record = redis.call('HMGET', job, 'state', 'lease', 'owner', 'spec')
local state, lease, holder, spec = record[1], record[2], record[3], record[4]
if not state then return {'missing'} end
if state ~= 'queued' and state ~= 'running' then return {'ended'} end
if state == 'running' and tonumber(lease) > now_ms() and holder ~= owner then return {'held'} end

local epoch = redis.call('HINCRBY', job, 'epoch', 1)
local attempts = redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSETNX', job, 'started', text(now_ms()))
redis.call('HSET', job, 'state', 'running', 'owner', owner, 'partial', '')
extend(job, commits, leases, id, lease_ms, ttl_ms)
return {'acquired', tostring(epoch), spec, tostring(attempts), redis.call('HGET', job, 'commits')}
