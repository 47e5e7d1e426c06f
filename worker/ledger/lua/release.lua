-- Gives a job back to the queue, the attempt not counted. Returns 1, or 0 when not owned.
-- An epoch of '' takes it from whoever holds it; only for one who knows that no worker is left.
-- ARGV: id, epoch, ttl_ms
local job = KEYS[4]
local id, epoch, ttl_ms = unpack(ARGV)
local record = redis.call('HMGET', job, 'state', 'epoch')
if record[1] == 'queued' and (epoch == '' or record[2] == epoch) then return 1 end
if record[1] ~= 'running' or (epoch ~= '' and record[2] ~= epoch) then return 0 end
if epoch == '' then redis.call('HINCRBY', job, 'epoch', 1) end
uncount(job)
enqueue(job, KEYS[5], id, ttl_ms, 0)
return 1
