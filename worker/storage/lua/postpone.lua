-- Gives a job back, to be sent again after a delay, with the reason. Returns 1, or 0 when not owned.
-- ARGV: id, epoch, ttl_ms, delay_ms, counted (1, 0, or `unread`: only as one that could not read it), error code, error
local job = KEYS[4]
local id, epoch, ttl_ms, delay_ms, counted, code, reason = unpack(ARGV)
local record = redis.call('HMGET', job, 'state', 'epoch')
if record[1] == 'queued' and record[2] == epoch then return 1 end
if not owned(job, epoch) then return 0 end
if counted ~= '1' then uncount(job) end
if counted == 'unread' then redis.call('HINCRBY', job, 'unread', 1) end
if code ~= '' then redis.call('HSET', job, 'error_code', code, 'error', reason) end
enqueue(job, KEYS[5], id, ttl_ms, math.max(1, tonumber(delay_ms)))
return 1
