-- Makes the caller the owner of a job. Returns {'missing'}, {'ended'}, {'held'}, {'paused'}, {'delayed'} or
-- {'acquired', epoch, spec, attempts, commits, tries}. What earlier owners committed stays: the new one goes on after it.
-- The same owner may take its job again: its first call may have been answered on a connection that broke.
-- ARGV: id, owner, lease_ms, ttl_ms
local job, commits = KEYS[4], KEYS[5]
local id, owner, lease_ms, ttl_ms = unpack(ARGV)

local record = redis.call('HMGET', job, 'state', 'lease', 'owner', 'spec', 'paused')
local state, lease, holder, spec, paused = record[1], record[2], record[3], record[4], record[5]
if not state then return {'missing'} end
if state ~= 'queued' and state ~= 'running' then return {'ended'} end
if state == 'running' and tonumber(lease) > now_ms() and holder ~= owner then return {'held'} end
if paused == '1' then return {'paused'} end
-- Whoever got here by a message that was left over would take its pause from it.
local due = redis.call('ZSCORE', KEYS[3], id)
if due and tonumber(due) > now_ms() then return {'delayed'} end

let_go(job, id)
local epoch = redis.call('HINCRBY', job, 'epoch', 1)
local attempts = redis.call('HINCRBY', job, 'attempts', 1)
local tries = redis.call('HINCRBY', job, 'tries', 1)
redis.call('HSETNX', job, 'started', text(now_ms()))
redis.call('HSET', job, 'state', 'running', 'owner', owner)
extend(job, commits, id, lease_ms, ttl_ms)
return {'acquired', tostring(epoch), spec, tostring(attempts), redis.call('HGET', job, 'commits'), tostring(tries)}
