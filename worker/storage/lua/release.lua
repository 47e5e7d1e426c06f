-- Gives a job back to the queue, the attempt not counted. Returns 1, or 0 when not owned.
-- An epoch of '' takes it from whoever holds it; only for one who knows that no worker is left.
-- KEYS: job, commits, leases    ARGV: id, epoch, ttl_ms
local job, commits, leases = unpack(KEYS)
local id, epoch, ttl_ms = unpack(ARGV)
local record = redis.call('HMGET', job, 'state', 'epoch')
if record[1] == 'queued' and (epoch == '' or record[2] == epoch) then return 1 end
if record[1] ~= 'running' or (epoch ~= '' and record[2] ~= epoch) then return 0 end
if epoch == '' then redis.call('HINCRBY', job, 'epoch', 1) end
redis.call('HINCRBY', job, 'attempts', -1)
redis.call('HSET', job, 'state', 'queued')
let_go(job, leases, id)
redis.call('PEXPIRE', job, ttl_ms)
return 1
