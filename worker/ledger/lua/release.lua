-- Requeues a job without counting the attempt. Returns 1, or 0 when not owned.
-- An epoch of '' takes the job from any owner; only for a caller that knows that no worker is left.
-- ARGV: id, epoch, ttl_ms
local job = KEYS[4]
local id, epoch, ttl_ms = unpack(ARGV)
local record = redis.call('HMGET', job, 'state', 'epoch')
-- The same call again: its first answer was lost.
if record[1] == 'queued' and (epoch == '' or record[2] == epoch) then return 1 end
if record[1] ~= 'running' or (epoch ~= '' and record[2] ~= epoch) then return 0 end
if epoch == '' then redis.call('HINCRBY', job, 'epoch', 1) end
uncount_attempt(job)
enqueue(job, KEYS[5], id, ttl_ms, 0)
return 1
