-- Requeues a job after a delay, with a reason. Returns 1, or 0 when not owned.
-- With `restart` the committed text is deleted, and the next attempt starts with the present content of the source.
-- ARGV: id, epoch, owner, ttl_ms, delay_ms, counted (1, 0, or the only field that counts it: `unread`, `shortages`), error code,
--       error, restart (0/1)
local job = KEYS[4]
local id, epoch, owner, ttl_ms, delay_ms, counted, code, reason, restart = unpack(ARGV)
if repeated(job, 'queued', epoch, owner, ttl_ms) then return 1 end
if not owned(job, epoch, owner) then return 0 end
if counted ~= '1' then uncount_attempt(job) end
if counted == 'unread' or counted == 'shortages' then redis.call('HINCRBY', job, counted, 1) end
if code ~= '' then redis.call('HSET', job, 'error_code', code, 'error', reason) end
if restart == '1' then
  redis.call('DEL', KEYS[5])
  redis.call('HDEL', job, 'plan', 'sections', 'began')
  redis.call('HINCRBY', job, 'restarts', 1)
  redis.call('HSET', job, 'commits', '0', 'sent_s', '0', 'committed_s', '0', 'restarted', reason)
end
enqueue(job, KEYS[5], id, ttl_ms, math.max(1, tonumber(delay_ms)))
return 1
