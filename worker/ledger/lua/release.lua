-- Requeues a job without counting the attempt. Returns 1, or 0 when not owned.
-- An epoch of '' takes the job from any owner; only for a caller that knows that no worker is left.
-- ARGV: id, epoch, owner, ttl_ms
local job = KEYS[4]
local id, epoch, owner, ttl_ms = unpack(ARGV)
if epoch == '' then
  local state = redis.call('HGET', job, 'state')
  if state ~= 'running' then return state == 'queued' and 1 or 0 end
  redis.call('HINCRBY', job, 'epoch', 1)
else
  if repeated(job, 'queued', epoch, owner, ttl_ms) then return 1 end
  if not owned(job, epoch, owner) then return 0 end
end
uncount_attempt(job)
enqueue(job, KEYS[5], id, ttl_ms, 0)
return 1
